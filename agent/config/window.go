package config

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Window says when something may be done, as "22:00-04:00", "Mon-Fri 12:00-13:00"
// or "Sat 22:00-04:00, Sun": spans of the day, days, or both. What goes over
// midnight belongs to the day on which it begins. "" is never.
type Window string

// span is one part of a window, in minutes of the day.
type span struct {
	days     [7]bool // by time.Weekday
	from, to int     // to is at or before from where it goes over midnight
}

// Open tells whether the time lies in the window, by the clock and the days of
// its own time zone. A window that can't be read is never open.
func (w Window) Open(t time.Time) bool {
	spans, err := w.spans()
	if err != nil {
		return false
	}
	now, today := t.Hour()*60+t.Minute(), t.Weekday()
	yesterday := (today + 6) % 7
	return slices.ContainsFunc(spans, func(s span) bool {
		if s.from < s.to {
			return s.days[today] && now >= s.from && now < s.to
		}
		return s.days[today] && now >= s.from || s.days[yesterday] && now < s.to
	})
}

// spans reads the window.
func (w Window) spans() ([]span, error) {
	if w == "" {
		return nil, nil
	}
	var out []span
	for _, text := range strings.Split(string(w), ",") {
		s, ok := readSpan(strings.Fields(text))
		if !ok {
			return nil, fmt.Errorf("must be times as 22:00-04:00, days as Sat or Mon-Fri, or both, with commas between several, got %s in %s",
				shown(strings.TrimSpace(text)), shown(string(w)))
		}
		out = append(out, s)
	}
	return out, nil
}

func readSpan(words []string) (s span, ok bool) {
	s = span{days: [7]bool{true, true, true, true, true, true, true}, to: 24 * 60}
	if len(words) == 0 || len(words) > 2 {
		return s, false
	}
	days, found := readDays(words[0])
	if found {
		s.days, words = days, words[1:]
	}
	if len(words) == 0 {
		return s, true
	}
	if len(words) > 1 {
		return s, false
	}
	from, to, found := strings.Cut(words[0], "-")
	var good [2]bool
	s.from, good[0] = minutes(from)
	s.to, good[1] = minutes(to)
	return s, found && good[0] && good[1] && s.from != s.to && s.from < 24*60
}

// readDays reads Sat or Mon-Fri, which may go over the week's end.
func readDays(text string) (days [7]bool, ok bool) {
	first, last, several := strings.Cut(text, "-")
	from, ok := weekday(first)
	if !ok {
		return days, false
	}
	to := from
	if several {
		if to, ok = weekday(last); !ok {
			return days, false
		}
	}
	for d := from; ; d = (d + 1) % 7 {
		if days[d] = true; d == to {
			return days, true
		}
	}
}

func weekday(name string) (time.Weekday, bool) {
	for d := time.Sunday; d <= time.Saturday; d++ {
		if strings.EqualFold(name, d.String()) || strings.EqualFold(name, d.String()[:3]) {
			return d, true
		}
	}
	return 0, false
}

// minutes reads 00:00 to 24:00.
func minutes(text string) (int, bool) {
	if len(text) != 5 || text[2] != ':' {
		return 0, false
	}
	for _, i := range []int{0, 1, 3, 4} {
		if text[i] < '0' || text[i] > '9' {
			return 0, false
		}
	}
	h, m := int(text[0]-'0')*10+int(text[1]-'0'), int(text[3]-'0')*10+int(text[4]-'0')
	return h*60 + m, m < 60 && h*60+m <= 24*60
}
