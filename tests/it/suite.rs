//! What producing and consuming mean, the same on every backend.

mod consuming;
mod positions;
mod producing;
mod topics;
