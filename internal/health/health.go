// Package health holds warnings that a person should act on. Each kind of
// warning is a declared value with its code, its severity and what to do; a
// Set holds those that are raised now. It is a leaf: device and fleet share it.
package health

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Severity orders warnings. The zero value is invalid.
type Severity uint8

// The severities.
const (
	_     Severity = iota
	Info           // worth knowing, nothing to do now
	Warn           // inspection goes on, but not as it should
	Error          // parts are rejected, or not inspected, until a person acts
)

func (s Severity) String() string {
	switch s {
	case Info:
		return "info"
	case Warn:
		return "warn"
	case Error:
		return "error"
	}
	return fmt.Sprintf("severity %d", uint8(s))
}

// MarshalText gives the name as it stands in JSON.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText wrote and refuses everything else.
func (s *Severity) UnmarshalText(b []byte) error {
	for _, known := range []Severity{Info, Warn, Error} {
		if known.String() == string(b) {
			*s = known
			return nil
		}
	}
	return fmt.Errorf("severity %q is none of info, warn, error", b)
}

// Warning is one kind of trouble. Its values are declared, never made up where
// the trouble is met, so that the documentation can list all of them.
type Warning struct {
	Code     string   // stable, for machines: camera_silent
	Severity Severity // how bad it is
	Title    string   // for people, without the subject: "the camera sends nothing"
	Do       string   // what a person does about it, one or two sentences
}

// Raised is a warning that holds now.
type Raised struct {
	Code     string    `json:"code" doc:"stable name of the kind of warning"`
	Severity Severity  `json:"severity" enum:"info,warn,error" doc:"how bad it is"`
	Subject  string    `json:"subject" doc:"what it is about: a station, a recipe as station@recipe, a file; empty for the device"`
	Text     string    `json:"text" doc:"what is wrong, for people"`
	Do       string    `json:"do" doc:"what to do about it"`
	Since    time.Time `json:"since" doc:"when it was first raised"`
}

// Set holds the warnings that are raised now. The zero value is empty and
// ready. It is safe for concurrent use.
type Set struct {
	mu     sync.Mutex // protects raised
	raised map[key]Raised
}

type key struct{ code, subject string }

// Raise says that w holds for subject. The detail is added to the title; it
// may change while the warning stays raised, the time of the first raise stays.
func (s *Set) Raise(w Warning, subject, detail string) {
	text := w.Title
	if detail != "" {
		text += ": " + detail
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.raised == nil {
		s.raised = map[key]Raised{}
	}
	k := key{w.Code, subject}
	since := s.raised[k].Since
	if since.IsZero() {
		since = time.Now()
	}
	s.raised[k] = Raised{Code: w.Code, Severity: w.Severity, Subject: subject, Text: text, Do: w.Do, Since: since}
}

// Clear takes the warning back. One that isn't raised is no error.
func (s *Set) Clear(w Warning, subject string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.raised, key{w.Code, subject})
}

// List is a copy of what is raised now: the worst first, then the oldest.
func (s *Set) List() []Raised {
	s.mu.Lock()
	list := make([]Raised, 0, len(s.raised))
	for _, r := range s.raised {
		list = append(list, r)
	}
	s.mu.Unlock()
	slices.SortFunc(list, func(a, b Raised) int {
		return cmp.Or(cmp.Compare(b.Severity, a.Severity), a.Since.Compare(b.Since),
			cmp.Compare(a.Code, b.Code), cmp.Compare(a.Subject, b.Subject))
	})
	return list
}

// Worst is the highest severity of a list, 0 for an empty one.
func Worst(list []Raised) Severity {
	var worst Severity
	for _, r := range list {
		worst = max(worst, r.Severity)
	}
	return worst
}
