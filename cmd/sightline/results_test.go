package main

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
)

// TestResultsOfTriggers: what a trigger asked for has columns of its own, which
// a list without it does without.
func TestResultsOfTriggers(t *testing.T) {
	const (
		plain = `{"device":"d1","station":"st1","id":"4711","verdict":"PASS","reason":"ok","attempt":1}`
		asked = `{"device":"d1","station":"st1","id":"4712","verdict":"FAIL","reason":"dent","attempt":2,"trigger_id":"T-1\u001b[31m","recipe":"0.5 l"}`
	)
	for _, c := range []struct {
		results []string
		want    []string // the lines, without the age
	}{
		{[]string{plain}, []string{"RECEIVED DEVICE STATION PART VERDICT WHY", "d1 st1 4711 PASS ok"}},
		{[]string{asked, plain}, []string{"RECEIVED DEVICE STATION TRIGGER RECIPE ATTEMPT PART VERDICT WHY", "d1 st1 T-1?[31m 0.5 l 2 4712 FAIL dent", "d1 st1 - - 1 4711 PASS ok"}},
	} {
		var all []json.RawMessage
		for _, r := range c.results {
			all = append(all, json.RawMessage(r))
		}
		table, err := resultsTable(all)
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		if err := table.write(&out); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		for i, line := range lines {
			line = regexp.MustCompile(`^.* ago `).ReplaceAllString(line, "")
			if got := strings.Join(strings.Fields(line), " "); i >= len(c.want) || got != c.want[i] {
				t.Errorf("line %d is %q, want %q", i, got, c.want)
			}
		}
	}
	if _, err := resultsTable([]json.RawMessage{[]byte("{")}); err == nil {
		t.Error("half an answer was read")
	}
}
