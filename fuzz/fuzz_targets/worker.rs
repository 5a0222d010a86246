#![no_main]
imon_fuzz::program!("worker");
