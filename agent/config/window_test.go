package config

import (
	"testing"
	"time"
)

func TestWindow(t *testing.T) {
	// 2026-03-06 is a Friday.
	at := func(day int, clock string) time.Time {
		c, err := time.Parse("15:04", clock)
		if err != nil {
			t.Fatal(err)
		}
		return time.Date(2026, 3, day, c.Hour(), c.Minute(), 30, 0, time.FixedZone("", 3600))
	}
	for _, c := range []struct {
		window Window
		day    int
		clock  string
		open   bool
	}{
		{"", 6, "12:00", false},
		{"22:00-04:00", 6, "21:59", false}, {"22:00-04:00", 6, "22:00", true},
		{"22:00-04:00", 7, "03:59", true}, {"22:00-04:00", 7, "04:00", false},
		{"12:00-13:00", 6, "12:59", true}, {"12:00-13:00", 6, "13:00", false},
		{"Sat 22:00-04:00, Sun", 6, "23:00", false}, // Friday night
		{"Sat 22:00-04:00, Sun", 7, "03:00", false}, // still Friday's night
		{"Sat 22:00-04:00, Sun", 7, "23:00", true},
		{"Sat 22:00-04:00", 8, "03:00", true}, {"Sat 22:00-04:00", 8, "22:30", false},
		{"Sat 22:00-04:00, Sun", 8, "15:00", true}, {"Sat 22:00-04:00, Sun", 9, "00:00", false},
		{"sat-mon 10:00-11:00", 9, "10:30", true}, {"Saturday-Mon 10:00-11:00", 10, "10:30", false},
		{"Mon-Fri", 6, "00:00", true}, {"Mon-Fri", 7, "00:00", false},
		{"00:00-24:00", 6, "23:59", true}, {"20:00-24:00", 7, "00:00", false},
		{"25:00-26:00", 6, "12:00", false}, // can't be read
	} {
		if got := c.window.Open(at(c.day, c.clock)); got != c.open {
			t.Errorf("%q at %s on March %d: open is %v", c.window, c.clock, c.day, got)
		}
	}
	for _, bad := range []Window{
		" ", ",", "22-04", "22:00", "22:00-", "22:00-22:00", "24:00-02:00", "22:60-23:00", "2:00-04:00", "Xyz", "Sat-", "Sat-Xyz 10:00-11:00",
		"Sat Sun", "Sat 10:00-11:00 12:00-13:00", "10:00-11:00 Sat", "10:00-11:00,", "１0:00-11:00", "-1:00-02:00", "Sat, ,Sun",
	} {
		if spans, err := bad.spans(); err == nil {
			t.Errorf("%q is read as %v", bad, spans)
		}
	}
}
