package store

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sightline-edge/sightline/sync/wire"
	"github.com/sightline-edge/sightline/vision"
)

// TestQuery: pages of every query, put together, are the rows that fit it.
func TestQuery(t *testing.T) {
	s := fresh(t)
	devices := []string{"dev-a", "dev-b", "dev-c"}
	enrol(t, s, devices...)
	rnd := rand.New(rand.NewPCG(1, 2))
	var want []Row
	next := map[string]uint64{}
	for range 40 {
		device := devices[rnd.IntN(3)]
		var items []wire.Item
		for range 1 + rnd.IntN(30) {
			next[device]++
			items = append(items, record(next[device], vision.Verdict(rnd.IntN(3)), func(r *wire.Result) {
				r.Station, r.Label = fmt.Sprint("st", rnd.IntN(4)), []string{"bottle", "can"}[rnd.IntN(2)]
				r.PartId = []string{"", "p1", "p2", "p3"}[rnd.IntN(4)]
				r.Evidence[0].Label = []string{"scratch", "dent", "bottlecap"}[rnd.IntN(3)]
				r.TriggerId, r.Recipe = []string{"", "t1", "t2"}[rnd.IntN(3)], []string{"", "small", "large"}[rnd.IntN(3)]
			}))
		}
		want = append(want, take(t, s, []uint64{next[device]}, batch(device, 5, items...))[0].Took.Rows...)
	}
	slices.Reverse(want)
	pass, fail, none := vision.Pass, vision.Fail, vision.None
	for _, q := range []Query{
		{}, {Device: "dev-a"}, {Station: "st1"}, {Part: "p2"}, {Label: "can"}, {Label: "dent"}, {Label: "bottle"}, {Label: "cap"},
		{Verdict: &pass}, {Verdict: &fail}, {Verdict: &none}, {Device: "dev-x"}, {Station: "it's"}, {Label: "nothing"},
		{Device: "dev-b", Station: "st2"}, {Device: "dev-b", Verdict: &fail}, {Device: "dev-b", Verdict: &pass}, {Part: "p1", Verdict: &none},
		{Trigger: "t1"}, {Trigger: "t"}, {Recipe: "small"}, {Recipe: "it's"}, {Part: "p2", Trigger: "t2"}, {Recipe: "large", Trigger: "t1", Label: "dent"},
		{Recipe: "small", Verdict: &pass}, {Recipe: "small", Verdict: &fail, Device: "dev-a"}, {Recipe: "large", Station: "st1", Part: "p1", Trigger: "t1"},
		{Device: "dev-c", Station: "st3", Part: "p3", Label: "scratch", Verdict: &fail}, {Station: "st0", Label: "dent", Verdict: &none},
	} {
		fits := func(r Row) bool {
			return (q.Device == "" || q.Device == r.Device) && (q.Station == "" || q.Station == r.Station) && (q.Part == "" || q.Part == r.Part) &&
				(q.Trigger == "" || q.Trigger == r.Record.GetTriggerId()) && (q.Recipe == "" || q.Recipe == r.Record.GetRecipe()) &&
				(q.Verdict == nil || *q.Verdict == r.Verdict) && (q.Label == "" || q.Label == r.Label || q.Label == r.Record.GetEvidence()[0].GetLabel())
		}
		var ids, wanted []int64
		for _, r := range want {
			if fits(r) {
				wanted = append(wanted, r.ID)
			}
		}
		q.Limit = 7
		for more := true; more; {
			var page []Row
			var err error
			if page, more, err = s.Results(t.Context(), q); err != nil || len(page) > 7 || more && len(page) == 0 {
				t.Fatalf("%+v: %d rows, more %v, %v", q, len(page), more, err)
			}
			for _, r := range page {
				ids = append(ids, r.ID)
				q.Before = r.ID
			}
		}
		if diff := cmp.Diff(wanted, ids); diff != "" {
			t.Errorf("%+v: %s", q, diff)
		}
	}
}

// TestLabelFarBack: a label that is nowhere near is found all the same, and a
// page doesn't look at every row once it has one.
func TestLabelFarBack(t *testing.T) {
	s := fresh(t)
	enrol(t, s, "dev-a")
	far := func(r *wire.Result) { r.Evidence[0].Label = "rare" }
	take(t, s, []uint64{2}, batch("dev-a", 1, record(1, vision.Pass, far), record(2, vision.Pass, far)))
	if _, err := s.writer.Exec(`UPDATE sqlite_sequence SET seq = 1000000 WHERE name = 'result'`); err != nil {
		t.Fatal(err)
	}
	take(t, s, []uint64{4}, batch("dev-a", 1, record(3, vision.Pass), record(4, vision.Fail, far)))
	page, more, err := s.Results(t.Context(), Query{Label: "rare"})
	if err != nil || len(page) != 1 || page[0].Seq != 4 || !more {
		t.Fatalf("%d rows, more %v, %v", len(page), more, err)
	}
	page, more, err = s.Results(t.Context(), Query{Label: "rare", Before: page[0].ID})
	if err != nil || len(page) != 2 || page[0].Seq != 2 || more {
		t.Fatalf("%d rows, more %v, %v", len(page), more, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := s.Results(ctx, Query{Label: "none"}); err == nil {
		t.Error("no error after the end")
	}
}

// TestPlans: no page sorts, and none reads the table where an index will do.
func TestPlans(t *testing.T) {
	s := fresh(t)
	enrol(t, s, "dev-a")
	take(t, s, []uint64{1}, batch("dev-a", 1, record(1, vision.Pass)))
	plan := func(text string, args ...any) string {
		steps, err := rows(t.Context(), s, func(r *sql.Rows) (string, error) {
			var id, parent, unused int
			var detail string
			err := r.Scan(&id, &parent, &unused, &detail)
			return detail, err
		}, "EXPLAIN QUERY PLAN "+text, args...)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		return strings.Join(steps, "\n")
	}
	fail := vision.Fail
	for want, q := range map[string]Query{
		"SEARCH r USING INTEGER PRIMARY KEY":                                   {},
		"INDEX result_device (device=? AND rowid>? AND rowid<?)":               {Device: "dev-a", Station: "st1"},
		"INDEX result_station (station=? AND rowid>? AND rowid<?)":             {Station: "st1"},
		"INDEX result_part (part=? AND rowid>? AND rowid<?)":                   {Device: "dev-a", Part: "p"},
		"INDEX result_trigger (trigger_id=? AND rowid>? AND rowid<?)":          {Device: "dev-a", Part: "p", Trigger: "t"},
		"INDEX result_recipe (recipe=? AND rowid>? AND rowid<?)":               {Recipe: "small"},
		"INDEX result_rejected (verdict=? AND rowid>? AND rowid<?)":            {Station: "st1", Verdict: &fail},
		"INDEX result_device_rejected (device=? AND verdict=? AND rowid>? AND": {Device: "dev-a", Verdict: &fail},
	} {
		text, args := q.sql(0)
		if got := plan(text, args...); !strings.Contains(got, want) || strings.Contains(got, "TEMP B-TREE") || strings.Contains(got, "SCAN") {
			t.Errorf("%+v: %s", q, got)
		}
	}
	if got := plan(sqlLast); strings.Contains(got, "SCAN r") || strings.Contains(got, "TEMP B-TREE") {
		t.Errorf("newest of each device: %s", got)
	}
	if got := plan(sqlRetold, "[1]"); !strings.Contains(got, "SEARCH r USING INTEGER PRIMARY KEY") || strings.Contains(got, "TEMP B-TREE") {
		t.Errorf("results told otherwise: %s", got)
	}
}
