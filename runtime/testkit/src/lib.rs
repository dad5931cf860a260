//! hob-testkit
