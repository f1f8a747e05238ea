package web

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Age is a span as people say it: 0 s, 59 s, 2 min, 3 h, 4 d. One below zero
// comes of a clock that was set and is 0 s.
func Age(d time.Duration) string {
	switch {
	case d < time.Second:
		return "0 s"
	case d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", d/time.Hour)
	}
	return fmt.Sprintf("%d d", d/(24*time.Hour))
}

// Stamp is a moment to the millisecond, with its zone.
func Stamp(t time.Time) string { return t.Format("2006-01-02 15:04:05.000 MST") }

// Percent of a share from 0 to 1, to a tenth, rounded down, so that only what
// is whole is called 100. NaN is a dash.
func Percent(share float64) string {
	if math.IsNaN(share) {
		return "–"
	}
	tenths := math.Floor(share*1000 + 1e-9)
	if tenths == 1000 {
		return "100"
	}
	return strconv.FormatFloat(tenths/10, 'f', 1, 64)
}

// Count has its thousands apart: 2,412.
func Count(n int) string {
	s := strconv.Itoa(n)
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// Number has three digits that count, as many as a person compares: 0.914,
// 12.3, 1240.
func Number(f float64) string {
	switch a := math.Abs(f); {
	case math.IsNaN(f) || math.IsInf(f, 0):
		return "–"
	case a >= 100 || f == math.Trunc(f) && a < 1e15:
		return strconv.FormatFloat(f, 'f', 0, 64)
	case a >= 10:
		return strconv.FormatFloat(f, 'f', 1, 64)
	case a >= 1:
		return strconv.FormatFloat(f, 'f', 2, 64)
	}
	return strconv.FormatFloat(f, 'f', 3, 64)
}

// Digest is a hex digest short enough to compare by eye: 9f2c…e1.
func Digest(hex string) string {
	if len(hex) <= 8 {
		return hex
	}
	return hex[:4] + "…" + hex[len(hex)-2:]
}

// Kind is the style of a verdict: pass, fail, or none for all that is no
// decision.
func Kind(verdict fmt.Stringer) string {
	switch verdict.String() {
	case "PASS":
		return "pass"
	case "FAIL":
		return "fail"
	}
	return "none"
}

// Word is a verdict as people read it.
func Word(verdict fmt.Stringer) string {
	switch verdict.String() {
	case "PASS":
		return "PASS"
	case "FAIL":
		return "FAIL"
	}
	return "NO DECISION – REJECTED"
}

// Size is so many bytes in units of a thousand, to a tenth below ten: 512 B,
// 1.5 GB.
func Size(bytes uint64) string {
	v, unit := float64(bytes), "B"
	for _, next := range []string{"kB", "MB", "GB", "TB"} {
		if v < 999.5 {
			break
		}
		v, unit = v/1000, next
	}
	if v < 9.95 && unit != "B" {
		return fmt.Sprintf("%.1f %s", v, unit)
	}
	return fmt.Sprintf("%.0f %s", v, unit)
}

// Sentence is the text with a capital letter at its beginning, but for one that
// begins with a path.
func Sentence(text string) string {
	first, _, _ := strings.Cut(text, " ")
	r, n := utf8.DecodeRuneInString(text)
	if n == 0 || strings.Contains(first, "/") {
		return text
	}
	return string(unicode.ToUpper(r)) + text[n:]
}
