//! Decides: model, decode, world, route, admit, authorize, balance, Reason. No I/O.
