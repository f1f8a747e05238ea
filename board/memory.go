package board

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

const maxKiB = 1 << 40 // a pebibyte of memory

// memory is what the machine has and what programs could still get, in bytes
// (proc_meminfo(5), which has kB of 1024 bytes).
func (t *tree) memory() (total, available *uint64) {
	const name = "proc/meminfo"
	b, ok := t.file(name)
	if !ok {
		return nil, nil
	}
	get := func(key string) *uint64 {
		v, err := parseMeminfo(b, key)
		if err != nil {
			t.problem(name, "%v", err)
		}
		return v
	}
	total, available = get("MemTotal"), get("MemAvailable")
	if total != nil && (*total == 0 || available != nil && *available > *total) {
		t.problem(name, "%d bytes in all can't be", *total)
		return nil, nil
	}
	return total, available
}

// parseMeminfo is a value in bytes, nil if there is none.
func parseMeminfo(b []byte, key string) (*uint64, error) {
	for line := range bytes.Lines(b) {
		rest, ok := strings.CutPrefix(string(line), key+":")
		if !ok {
			continue
		}
		fields := strings.Fields(rest)
		if len(fields) == 2 && fields[1] == "kB" {
			if v, err := strconv.ParseUint(fields[0], 10, 64); err == nil && v <= maxKiB {
				v *= 1024
				return &v, nil
			}
		}
		return nil, fmt.Errorf("%s is no number of kB: %.20q", key, rest)
	}
	return nil, nil
}
