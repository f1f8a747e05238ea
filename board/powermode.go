package board

import (
	"fmt"
	"regexp"
	"strconv"
)

var (
	modePattern = regexp.MustCompile(`\bpmode:(\d{1,4})\b`)
	namePattern = regexp.MustCompile(`(?m)^<\s*POWER_MODEL\s+ID=(\d{1,4})\s+NAME=(\S+)\s*>`)
)

// powerMode is a Jetson's power mode as nvpmodel names it: the number that it
// keeps for the next start, by the name that its configuration gives it. Where
// nobody has chosen one yet there is no file, and the default isn't told as if
// it had been measured.
func (t *tree) powerMode() string {
	const status, conf = "var/lib/nvpmodel/status", "etc/nvpmodel.conf"
	b, ok := t.file(status)
	if !ok {
		return ""
	}
	mode, err := parseMode(b)
	if err != nil {
		t.problem(status, "%v", err)
		return ""
	}
	if b, ok = t.file(conf); ok {
		if name := modeName(b, mode); name != "" {
			return name
		}
		t.problem(conf, "has no mode %d", mode)
	}
	return fmt.Sprintf("mode %d", mode)
}

func parseMode(b []byte) (int, error) {
	m := modePattern.FindSubmatch(b)
	if m == nil {
		return 0, fmt.Errorf("names no power mode: %.20q", b)
	}
	return strconv.Atoi(string(m[1]))
}

func modeName(conf []byte, mode int) string {
	for _, m := range namePattern.FindAllSubmatch(conf, -1) {
		if id, err := strconv.Atoi(string(m[1])); err == nil && id == mode {
			return clean(m[2])
		}
	}
	return ""
}
