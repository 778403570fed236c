//! What the tests of the kernel program share.
