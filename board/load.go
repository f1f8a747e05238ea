package board

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"
)

const maxLoad = 1e6 // no queue of processes is longer

// load is one minute's average (proc_loadavg(5)).
func (t *tree) load() *float64 {
	const name = "proc/loadavg"
	b, ok := t.file(name)
	if !ok {
		return nil
	}
	v, err := parseLoad(b)
	if err != nil {
		t.problem(name, "%v", err)
		return nil
	}
	return &v
}

func parseLoad(b []byte) (float64, error) {
	fields := bytes.Fields(b)
	if len(fields) < 3 {
		return 0, fmt.Errorf("is no load average: %.20q", b)
	}
	v, err := strconv.ParseFloat(string(fields[0]), 64)
	if err != nil || !finite(v) || v < 0 || v > maxLoad {
		return 0, fmt.Errorf("is no load average: %.20q", fields[0])
	}
	return v, nil
}

// cpuTimes are what all cores together have done since the start, in ticks.
type cpuTimes struct{ busy, all uint64 }

// cpu is the share of all cores that was busy since before, nil on the first
// reading, when nothing has passed, and when the kernel's counters went back.
func (t *tree) cpu(before cpuTimes) (*float64, cpuTimes) {
	const name = "proc/stat"
	b, ok := t.file(name)
	if !ok {
		return nil, cpuTimes{}
	}
	now, _, err := parseStat(b)
	if err != nil {
		t.problem(name, "%v", err)
		return nil, cpuTimes{}
	}
	if before.all == 0 || now.all <= before.all || now.busy < before.busy {
		return nil, now
	}
	share := float64(now.busy-before.busy) / float64(now.all-before.all)
	share = min(share, 1)
	return &share, now
}

// parseStat reads the line cpu of proc_stat(5) (user nice system idle iowait
// irq softirq steal; guests are in user already) and counts the cores.
func parseStat(b []byte) (cpuTimes, int, error) {
	var times cpuTimes
	cores := 0
	for line := range bytes.Lines(b) {
		fields := strings.Fields(string(line))
		if len(fields) == 0 || !strings.HasPrefix(fields[0], "cpu") {
			continue
		}
		if fields[0] != "cpu" {
			cores++
			continue
		}
		if len(fields) < 5 {
			return cpuTimes{}, 0, fmt.Errorf("the line cpu has %d fields", len(fields))
		}
		for i, f := range fields[1:min(len(fields), 9)] {
			v, err := strconv.ParseUint(f, 10, 64)
			if err != nil || v > math.MaxUint64-times.all {
				return cpuTimes{}, 0, fmt.Errorf("the line cpu has no number of ticks: %.20q", f)
			}
			times.all += v
			if i != 3 && i != 4 { // idle, and idle while a disk works
				times.busy += v
			}
		}
	}
	if times.all == 0 {
		return cpuTimes{}, 0, fmt.Errorf("has no line cpu: %.20q", b)
	}
	return times, cores, nil
}
