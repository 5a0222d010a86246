#![no_main]
imon_fuzz::program!("resolve");
