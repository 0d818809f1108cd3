//! End-to-end, contract and failure tests of the whole product live in `tests/`; this library is empty.
