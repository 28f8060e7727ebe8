//! What is refused, and that the error says what is wrong with what.

mod calls;
mod directories;
mod groups;
