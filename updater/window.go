package updater

import (
	"fmt"
	"strings"
	"time"
)

// Window is when a station may switch: spans of local wall-clock time, every
// day or on some. The zero Window never opens.
type Window struct{ spans []span }

// span is from a minute of the day until another, which may be the next day's.
type span struct {
	days        [7]bool // on which it begins, by time.Weekday
	from, until int     // minutes since midnight; until 1440 at most
}

const dayMinutes = 24 * 60

var weekdays = map[string]time.Weekday{"sun": 0, "mon": 1, "tue": 2, "wed": 3, "thu": 4, "fri": 5, "sat": 6}

// ParseWindow reads spans such as "22:00-04:00", "Sat 06:00-12:00" and
// "Mon-Fri 12:00-12:30", with commas between them. One that ends before it
// begins ends the next day.
func ParseWindow(text string) (Window, error) {
	var w Window
	for part := range strings.SplitSeq(text, ",") {
		s, err := parseSpan(strings.TrimSpace(part))
		if err != nil {
			return Window{}, fmt.Errorf("update window %q: %w; write it as 22:00-04:00 or Sat 06:00-12:00, with commas between several", text, err)
		}
		w.spans = append(w.spans, s)
	}
	return w, nil
}

func parseSpan(text string) (s span, err error) {
	days, times, named := strings.Cut(text, " ")
	if !named {
		days, times = "sun-sat", text
	}
	if s.days, err = parseDays(days); err != nil {
		return s, err
	}
	from, until, ok := strings.Cut(strings.TrimSpace(times), "-")
	if !ok {
		return s, fmt.Errorf("%q has no start and end", times)
	}
	if s.from, err = parseMinute(from); err != nil {
		return s, err
	}
	if s.until, err = parseMinute(until); err != nil {
		return s, err
	}
	if s.from == s.until || s.from == dayMinutes {
		return s, fmt.Errorf("%q has no length", times)
	}
	return s, nil
}

func parseDays(text string) (days [7]bool, err error) {
	first, last, several := strings.Cut(strings.ToLower(text), "-")
	if !several {
		last = first
	}
	a, ok := weekdays[first]
	b, ok2 := weekdays[last]
	if !ok || !ok2 {
		return days, fmt.Errorf("%q is no day or span of days", text)
	}
	for d := a; ; d = (d + 1) % 7 {
		days[d] = true
		if d == b {
			return days, nil
		}
	}
}

func parseMinute(text string) (int, error) {
	text = strings.TrimSpace(text)
	if text == "24:00" {
		return dayMinutes, nil
	}
	t, err := time.Parse("15:04", text)
	if err != nil {
		return 0, fmt.Errorf("%q is no time of day", text)
	}
	return t.Hour()*60 + t.Minute(), nil
}

// Open says whether now lies in the window, by the wall clock of now's zone:
// an hour that daylight saving repeats counts twice, one that it skips not at
// all.
func (w Window) Open(now time.Time) bool {
	day, minute := now.Weekday(), now.Hour()*60+now.Minute()
	yesterday := (day + 6) % 7
	for _, s := range w.spans {
		over := s.until <= s.from
		if s.days[day] && minute >= s.from && (over || minute < s.until) {
			return true
		}
		if over && s.days[yesterday] && minute < s.until {
			return true
		}
	}
	return false
}

// Given says whether the window ever opens.
func (w Window) Given() bool { return len(w.spans) > 0 }
