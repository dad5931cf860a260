//! The primitive `base64`.
