package api

import (
	"strings"
)

// Words say on what the model computes.
func (c *Computes) Words() string {
	s := "on " + c.Provider
	if c.Precision == "float16" {
		s += " in float16"
	}
	if c.GPU != "" {
		s += ", " + c.GPU
	}
	return s
}

// Why says what was passed over, and the versions of the rest.
func (c *Computes) Why() string {
	s := "ONNX Runtime " + c.Runtime
	if c.Driver != "" {
		s += ", driver " + c.Driver
	}
	if len(c.Passed) > 0 {
		s += "; passed over: " + strings.Join(c.Passed, "; ")
	}
	return s
}
