package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"strconv"
)

// loopSeconds is how long a loop in Python runs.
const loopSeconds = 60

// loopSays is what p2.py prints.
type loopSays struct {
	Age    float64   `json:"age_p99_ms"`
	Model  float64   `json:"model_p99_ms"`
	Half   float64   `json:"model_p50_ms"`
	Frames int       `json:"frames"`
	Counts []float64 `json:"counts"` // of each camera
}

// loop runs the script on the same cameras.
func (f *fresh) loop(ctx context.Context, mode string) (l loopSays, err error) {
	args := append([]string{f.env.script("p2.py"), mode, f.model, strconv.Itoa(loopSeconds)}, f.sources...)
	cmd := exec.CommandContext(ctx, f.env.Python, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return l, fmt.Errorf("run p2.py %s: %w: %s", mode, err, stderr.Bytes())
	}
	if err := json.Unmarshal(out, &l); err != nil || l.Frames == 0 || l.Age == 0 {
		return l, fmt.Errorf("read what p2.py %s says: %w: %q", mode, err, out)
	}
	return l, nil
}
