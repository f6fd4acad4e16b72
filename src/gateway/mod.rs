//! The program that runs beside the device.
