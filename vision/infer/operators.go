package infer

import (
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// node takes down what an operator makes of what. Those inside of subgraphs and
// functions aren't looked at.
func (m *onnxModel) node(b []byte) error {
	if m.nodes++; m.nodes > maxNodes || len(m.makers) > maxNodes {
		return fmt.Errorf("its graph has more than %d operators", maxNodes)
	}
	var op, domain, from, first string
	var makes []string
	inputs := 0
	err := fields(b, func(num protowire.Number, v value) error {
		switch num {
		case 1:
			if inputs++; inputs == 1 {
				from, first = string(v.b), string(v.b)
			}
		case 2:
			if len(makes) < maxTensors {
				makes = append(makes, string(v.b))
			}
		case 4:
			op = string(v.b)
		case 7:
			domain = string(v.b)
		}
		return nil
	})
	if op == "Concat" && inputs > 1 {
		from = "" // several things, none of which tells what the whole is
	}
	for _, name := range makes {
		m.makers[name] = maker{op, from, first}
	}
	m.ops[op] = true
	if !slices.Contains(runtimeDomains, domain) {
		m.foreign[domain] = op
	}
	return err
}

// runtimeDomains are those of the operators that ONNX Runtime brings along.
var runtimeDomains = []string{"", "ai.onnx", "ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc", "com.ms.internal.nhwc", "org.pytorch.aten"}

// function takes down the domain of a function that the model brings along.
func (m *onnxModel) function(b []byte) error {
	return fields(b, func(num protowire.Number, v value) error {
		if num == 10 {
			m.own[string(v.b)] = true
		}
		return nil
	})
}

func (m *onnxModel) opsets(b []byte) error {
	var domain string
	var version int64
	err := fields(b, func(num protowire.Number, v value) error {
		switch num {
		case 1:
			domain = string(v.b)
		case 2:
			version = int64(v.n)
		}
		return nil
	})
	if domain == "" || domain == "ai.onnx" {
		m.opset = version
	}
	return err
}

// checkDomains refuses operators that no ONNX Runtime has.
func (m *onnxModel) checkDomains() error {
	for _, domain := range slices.Sorted(maps.Keys(m.foreign)) {
		if !m.own[domain] {
			return fmt.Errorf("it uses the operator %s of %q, which ONNX Runtime doesn't have (TensorRT's plug-ins are such): export the model without it", m.foreign[domain], domain)
		}
	}
	return nil
}

// shaping are the operators that move values, and make no new ones of them but
// means of neighbours.
var shaping = []string{"Identity", "Cast", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice", "Concat",
	"Resize", "Upsample", "QuantizeLinear", "DequantizeLinear"}

// origin follows a tensor back through operators that only move values: the
// last operator, and the last that computed. Both are "" where that is open.
func (m *onnxModel) origin(name string) (last, computed string) {
	for range 32 {
		made, ok := m.makers[name]
		if !ok {
			return last, ""
		}
		if last == "" {
			last = made.op
		}
		if !slices.Contains(shaping, made.op) {
			return last, made.op
		}
		name = made.from
	}
	return last, ""
}

// foremost is the operator that computed the first of the things that a tensor is
// put together of, "" where that is open.
func (m *onnxModel) foremost(name string) string {
	for range 32 {
		made, ok := m.makers[name]
		if !ok {
			return ""
		}
		if !slices.Contains(shaping, made.op) {
			return made.op
		}
		name = made.first
	}
	return ""
}
