//! The CNI plugin: ADD, DEL, CHECK, GC, STATUS, VERSION. Blocking, no runtime, no credentials.
