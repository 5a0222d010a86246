#![no_main]
imon_fuzz::program!("state");
