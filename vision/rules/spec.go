package rules

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/sightline-edge/sightline/vision/rules/guest"
)

// Threshold is the name of the standard rule.
const Threshold = "threshold"

const specHelp = "write threshold:defect>0.5, threshold:scratch>=0.7,dent>0.5, or the path of a .wasm file"

// Spec names a rule and its parameters, as a person writes it.
type Spec struct {
	Module string // Threshold, or the path of a file that ends in .wasm
	Params string // as the module understands them; "" for none
}

// Parse reads "threshold:defect>0.5" or "path/to/my.wasm", the latter with or
// without ":parameters". It doesn't look for the file.
func Parse(s string) (Spec, error) {
	if path, params, ok := strings.Cut(s, ".wasm:"); ok {
		return Spec{Module: path + ".wasm", Params: params}, nil
	}
	if strings.HasSuffix(s, ".wasm") {
		return Spec{Module: s}, nil
	}
	name, params, _ := strings.Cut(s, ":")
	switch {
	case strings.TrimSpace(s) == "":
		return Spec{}, fmt.Errorf("no rule is named: %s", specHelp)
	case name != Threshold:
		return Spec{}, fmt.Errorf("rule %q: there is no standard rule %q, only %s: %s", s, name, Threshold, specHelp)
	case strings.TrimSpace(params) == "":
		return Spec{}, fmt.Errorf("rule %q has no limits: %s", s, specHelp)
	}
	if _, err := guest.ParseClauses(params); err != nil {
		return Spec{}, fmt.Errorf("rule %q: %w", s, err)
	}
	return Spec{Module: name, Params: params}, nil
}

// String is the specification as Parse reads it.
func (s Spec) String() string {
	if s.Params == "" {
		return s.Module
	}
	return s.Module + ":" + s.Params
}

// Labels are the labels of evidence that a standard rule names, in its order,
// so that whoever has no roles yet can take them for defects. The wildcard
// "defect" is left out, and a module of one's own names none.
func (s Spec) Labels() []string {
	if s.Module != Threshold {
		return nil
	}
	clauses, err := guest.ParseClauses(s.Params)
	if err != nil {
		return nil // Parse refused it before; a hand-made Spec fails in Load
	}
	var labels []string
	for _, c := range clauses {
		if c.Label != guest.Any {
			labels = append(labels, c.Label)
		}
	}
	return labels
}

// Lowest is the lowest score that a standard rule's limits ask for, 1 for a
// module of one's own: what scores less needn't be shown to it.
func (s Spec) Lowest() float32 {
	lowest := float32(1)
	if s.Module != Threshold {
		return lowest
	}
	clauses, err := guest.ParseClauses(s.Params)
	if err != nil {
		return lowest // Parse refused it before; a hand-made Spec fails in Load
	}
	for _, c := range clauses {
		lowest = min(lowest, c.Limit)
	}
	return lowest
}

// read gives the module's bytes.
func (s Spec) read() ([]byte, error) {
	if s.Module == Threshold {
		return Standard()
	}
	b, err := os.ReadFile(s.Module)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("rule %s: there is no such file; %s", s.Module, specHelp)
	}
	if err != nil {
		return nil, fmt.Errorf("rule %s: %w", s.Module, err)
	}
	return b, nil
}
