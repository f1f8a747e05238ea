package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/sightline-edge/sightline/vision"
)

// plcSummary is what passed the gate, against the agent's records and the truth.
type plcSummary struct {
	Parts       int            `json:"parts"`              // through the gate, open or shut
	Passed      int            `json:"passed"`             //
	Rejected    int            `json:"rejected"`           //
	Fail        int            `json:"rejected_fail"`      // by their own FAIL
	None        map[string]int `json:"rejected_none"`      // by their own NONE, by its reason
	Without     map[string]int `json:"rejected_without"`   // without a result: not_ready, missed, missing
	Uninspected int            `json:"passed_uninspected"` // passed without a PASS of their own in the agent's records
	OnBelt      int            `json:"on_belt"`            // past the light barrier and not at the gate at the end

	Bad        int `json:"bad"`           // truly bad, with a defect over the floor
	Good       int `json:"good"`          // truly good
	BelowFloor int `json:"below_floor"`   // whose only defects are too faint to be counted on
	Escapes    int `json:"escapes"`       // bad passed
	Overkill   int `json:"overkill"`      // good rejected by a FAIL or NONE
	GoodLost   int `json:"good_unjudged"` // good rejected because there was no result

	Triggers  int `json:"triggers"`           // raised
	Missed    int `json:"missed_triggers"`    // not accepted by the door
	Results   int `json:"results"`            // read over Modbus
	Double    int `json:"double_results"`     // more than one for a trigger, over Modbus or in the records
	Strange   int `json:"strange_results"`    // over Modbus or in the records, of no trigger
	Records   int `json:"records"`            // the agent's, over all its starts
	Cut       int `json:"cut_short"`          // triggers that were accepted, without a record and a result: the agent was killed under them
	Unheard   int `json:"unheard"`            // triggers whose acceptance was never read, without a record: the connection broke under them
	Unread    int `json:"recorded_unread"`    // recorded, and killed before it could be read
	Unwritten int `json:"read_unrecorded"`    // read over Modbus, and not in the records
	Differ    int `json:"read_not_as_record"` // read otherwise than it is recorded

	Kills            int        `json:"kills"`
	Stops            []beltStop `json:"stops"`
	UninspectedBound float64    `json:"passed_uninspected_bound"` // upper 95 % bound of the share
	Pictures         string     `json:"pictures"`                 // what the figures speak of
}

// compare holds what the controller did against the agent's records and the truth.
func (d *plcDemo) compare() (*plcSummary, error) {
	records, err := readResults(d.data())
	if err != nil {
		return nil, err
	}
	l := d.line
	l.mu.Lock()
	defer l.mu.Unlock()
	s := &plcSummary{
		None: map[string]int{}, Without: map[string]int{}, Records: len(records), Kills: l.kills, Stops: l.stops,
		Missed: l.program.missed, Double: l.program.double, Strange: l.program.strange, OnBelt: len(l.program.way), Pictures: "drawn",
	}
	about := map[string][]result{}
	for _, r := range records {
		about[r.trigger] = append(about[r.trigger], r)
	}
	for _, p := range l.program.parts {
		told := about[p.trigger]
		delete(about, p.trigger)
		s.hold(p, told)
		if p.through {
			s.pass(p, told)
			truth := l.belt.scene.Part(p.n)
			s.judge(p, truth.Bad(), truth.BelowFloor())
		}
	}
	for _, r := range about {
		s.Strange += len(r)
	}
	s.UninspectedBound = upperBound(s.Uninspected, s.Parts)
	return s, nil
}

// hold compares one part's result, as it was read, with its records.
func (s *plcSummary) hold(p *onBelt, told []result) {
	if p.asked {
		s.Triggers++
	}
	if p.answered {
		s.Results++
	}
	switch {
	case !p.asked:
		s.Strange += len(told)
	case len(told) > 1:
		s.Double++
	case len(told) == 0 && p.answered:
		s.Unwritten++
	case len(told) == 0 && p.accepted:
		s.Cut++
	case len(told) == 0 && p.lost != lostMissed:
		s.Unheard++
	case len(told) == 1 && !p.answered:
		s.Unread++
	case len(told) == 1 && (told[0].verdict != p.verdict || told[0].part != p.id):
		s.Differ++
	}
}

// pass counts one part at the gate. It asks the records, not the controller, whether
// a part that passed was inspected.
func (s *plcSummary) pass(p *onBelt, told []result) {
	s.Parts++
	inspected := slices.ContainsFunc(told, func(r result) bool {
		return r.verdict == vision.Pass && r.frames > 0 && r.part == p.id
	})
	switch {
	case p.passed:
		s.Passed++
		if !inspected {
			s.Uninspected++
		}
		return
	case p.lost != "":
		s.Without[p.lost]++
	case p.verdict == vision.Fail:
		s.Fail++
	default:
		reason := "unrecorded"
		if len(told) > 0 {
			reason = told[0].reason
		}
		s.None[reason]++
	}
	s.Rejected++
}

// judge counts what the gate did with a part that is truly good or bad.
func (s *plcSummary) judge(p *onBelt, bad, below bool) {
	switch {
	case below:
		s.BelowFloor++
	case bad:
		s.Bad++
		if p.passed {
			s.Escapes++
		}
	default:
		s.Good++
		if p.passed {
			return
		}
		if p.lost != "" {
			s.GoodLost++
		} else {
			s.Overkill++
		}
	}
}

// reasons are counts with their names, in the order of the names.
func reasons(counts map[string]int) string {
	if len(counts) == 0 {
		return "0"
	}
	text, sum := "", 0
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		sum += counts[name]
		text += fmt.Sprintf(", %s %d", name, counts[name])
	}
	return fmt.Sprintf("%d (%s)", sum, text[2:])
}

func (s *plcSummary) print(w io.Writer) error {
	var errs []error
	line := func(format string, args ...any) {
		_, err := fmt.Fprintf(w, format+"\n", args...)
		errs = append(errs, err)
	}
	of := func(k, n int) string {
		return fmt.Sprintf("%d of %d, ≤ %.1f %% at 95 %%", k, n, 100*upperBound(k, n))
	}
	line("\nparts passed uninspected: %s", of(s.Uninspected, s.Parts))
	line("%d parts came to the gate: %d passed, %d were rejected; %d were still on the belt", s.Parts, s.Passed, s.Rejected, s.OnBelt)
	line("  rejected by FAIL            %d", s.Fail)
	line("  rejected by NONE            %s", reasons(s.None))
	line("  rejected without a result   %s", reasons(s.Without))
	line("  bad parts that passed       %s", of(s.Escapes, s.Bad))
	line("  good parts rejected         %s; and %d for want of a result", of(s.Overkill, s.Good), s.GoodLost)
	line("  under the floor             %d: too faint to be counted on", s.BelowFloor)
	line("%d triggers, %d missed by the door; %d results read over Modbus, %d records of the agent", s.Triggers, s.Missed, s.Results, s.Records)
	line("  more than one result        %s", of(s.Double, s.Triggers))
	line("  read and recorded differ    %s", of(s.Differ+s.Unwritten, s.Results))
	line("  without a result            %d accepted and never recorded, %d not accepted in time, %d recorded and never read: all rejected", s.Cut, s.Unheard, s.Unread)
	if s.Strange > 0 {
		line("  results of no trigger       %d", s.Strange)
	}
	line("kills of the agent: %d, stops of the belt: %d", s.Kills, len(s.Stops))
	busy := 0
	for _, b := range s.Stops {
		when := "without a kill"
		if b.Kill > 0 {
			when = fmt.Sprintf("%.0f ms after kill %d", b.AfterMS, b.Kill)
		} else {
			busy++
		}
		line("  at %5.1f s, %-20s %3.0f px (%.0f mm) until it stood; parts on their way: %d, of them rejected without a result: %d", b.At, when+":", b.Travel, b.MM, b.OnWay, b.Without)
	}
	if busy > 0 {
		line("A stop without a kill: something else on this machine kept the agent, or this controller, from its turn.")
	}
	line("These are drawn pictures and a controller made of software: the figures say that the machinery works.")
	return errors.Join(errs...)
}
