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
		{"12:00-12:30,Sun 15:00-16:00", 8, "15:30", true}, {"Fri-Mon 12:00-13:00", 10, "12:30", false},
		{"Fri-Mon 12:00-13:00", 8, "12:30", true},
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

// TestWindowOverDaylightSaving: it goes by the clock on the wall, so that an hour
// that comes twice counts twice, and one that is left out not at all. Berlin's in
// 2027, without the machine's database of zones.
func TestWindowOverDaylightSaving(t *testing.T) {
	for _, c := range []struct {
		window Window
		utc    string
		summer bool
		open   bool
	}{
		{"02:00-03:00", "2027-03-28 00:30", false, false}, // 01:30; the hour from 2 to 3 doesn't exist
		{"02:00-03:00", "2027-03-28 01:00", true, false},  // 03:00
		{"01:00-04:00", "2027-03-28 01:30", true, true},   // 03:30
		{"02:00-03:00", "2027-10-31 00:30", true, true},   // 02:30, the first time
		{"02:00-03:00", "2027-10-31 01:30", false, true},  // 02:30, the second
		{"02:00-03:00", "2027-10-31 02:00", false, false}, // 03:00
	} {
		at, err := time.Parse("2006-01-02 15:04", c.utc)
		if err != nil {
			t.Fatal(err)
		}
		zone := time.FixedZone("CET", 3600)
		if c.summer {
			zone = time.FixedZone("CEST", 2*3600)
		}
		if got := c.window.Open(at.In(zone)); got != c.open {
			t.Errorf("%s at %v: open is %t", c.window, at.In(zone), got)
		}
	}
}
