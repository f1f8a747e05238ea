package main

import "github.com/sightline-edge/sightline/vision/rules/guest"

// current belongs to this instance; the host sets it up before the first part
// and again when it hands the instance to a station with other parameters.
var current threshold

//go:wasmexport configure
func configure() uint64 { return guest.Configure(current.setUp) }

//go:wasmexport rule
func rule() uint64 { return guest.Run(current.decide) }
