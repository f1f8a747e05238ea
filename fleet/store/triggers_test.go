package store

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/sightline-edge/sightline/sync/wire"
	"github.com/sightline-edge/sightline/vision"
)

// withoutTriggers makes a database as it was before the migration to triggers.
var withoutTriggers = []string{
	"DROP INDEX result_trigger", "DROP INDEX result_recipe", "ALTER TABLE result DROP COLUMN trigger_id", "ALTER TABLE result DROP COLUMN recipe",
	"DELETE FROM goose_db_version WHERE version_id > 3",
}

// TestMigrationToTriggers: a database of before has its results, none of a
// trigger, and takes those that are.
func TestMigrationToTriggers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fleet.db")
	with(t, path, func(s *Store) {
		enrol(t, s, "dev-a")
		take(t, s, []uint64{2}, batch("dev-a", 1, record(1, vision.Pass), record(2, vision.Fail)))
		for _, text := range withoutTriggers {
			if _, err := s.writer.Exec(text); err != nil {
				t.Fatal(err)
			}
		}
	})
	s := open(t, path)
	totals(t, s, "dev-a", Totals{Results: 2, Pass: 1, Fail: 1})
	take(t, s, []uint64{3}, batch("dev-a", 1, record(3, vision.Pass, func(r *wire.Result) { r.TriggerId, r.Recipe = "t1", "small" })))
	for _, q := range []Query{{Trigger: "t1"}, {Recipe: "small"}} {
		if page, more, err := s.Results(t.Context(), q); err != nil || more || len(page) != 1 || page[0].Seq != 3 {
			t.Errorf("%+v: %d rows, more %v, %v", q, len(page), more, err)
		}
	}
	if page, _, err := s.Results(t.Context(), Query{}); err != nil || len(page) != 3 {
		t.Errorf("%d rows, %v", len(page), err)
	}
}

// TestHostileViews: what says more than a device would is set aside, and what
// follows is stored.
func TestHostileViews(t *testing.T) {
	s := fresh(t)
	enrol(t, s, "dev-a")
	odd := []func(*wire.Result){
		func(r *wire.Result) { r.Views = make([]*wire.View, wire.MaxViews+1) },
		func(r *wire.Result) { r.TriggerId = strings.Repeat("t", wire.MaxName+1) },
		func(r *wire.Result) { r.Recipe = strings.Repeat("r", wire.MaxName+1) },
		func(r *wire.Result) { r.Views = []*wire.View{{}, {Camera: strings.Repeat("c", wire.MaxName+1)}} },
		func(r *wire.Result) { r.Evidence[0].View = 1 },
	}
	var items []wire.Item
	for i, change := range odd {
		items = append(items, record(uint64(i+1), vision.Pass, change))
	}
	last := uint64(len(odd) + 1)
	items = append(items, record(last, vision.Pass, func(r *wire.Result) {
		r.Views, r.Evidence[0].View = []*wire.View{{Camera: "top"}, {Camera: "side"}}, 1
	}))
	took := take(t, s, []uint64{last}, batch("dev-a", 1, items...))[0].Took
	if len(took.Rows) != 1 || took.Unreadable != len(odd) {
		t.Errorf("%d rows, %d set aside of %d", len(took.Rows), took.Unreadable, len(odd))
	}
	totals(t, s, "dev-a", Totals{Results: 1, Pass: 1, Unreadable: uint64(len(odd))})
}
