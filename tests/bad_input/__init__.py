"""Bad input: what is sent (`values`), to what (`forms`), how it is put together (`requests`, `twists`) and sent (`line`)."""
