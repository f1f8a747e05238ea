package store

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/sightline-edge/sightline/sync/wire"
	"github.com/sightline-edge/sightline/vision"
)

func TestRollouts(t *testing.T) {
	s := fresh(t)
	enrol(t, s, "dev-a", "dev-b")
	at := s.Now()
	r := Rollout{ID: "r1", Bundle: "caps", Version: "1.2.0", Digest: [32]byte{1, 2}, Target: "bundles/caps/1.2.0.slb", Golden: true, Group: "line4",
		Waves: "1,all", Conditions: "{}", State: "running", Wave: 0, Opened: at, By: "ann", Created: at, Changed: at}
	devices := []RolloutDevice{
		{Device: "dev-b", Wave: 0, State: "assigned", Act: wire.Command_ACT_INSTALL, Nonce: [16]byte{7}, Changed: at},
		{Device: "dev-a", Wave: 1, State: "planned", Act: wire.Command_ACT_INSTALL, Nonce: [16]byte{8}, Changed: at},
	}
	set := func(c RolloutChange) {
		t.Helper()
		if err := s.SetRollouts(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	set(RolloutChange{Rollout: &r, Devices: devices, Events: []RolloutEvent{{At: at, What: "begun", Who: "ann"}}})
	r.State, r.Reason, r.Wave, r.Ended = "succeeded", "all well", 1, at.Add(time.Minute)
	devices[0] = RolloutDevice{Device: "dev-b", State: "proven", Reason: "x", Text: "y", Forgiven: true, Act: wire.Command_ACT_ROLLBACK, Nonce: [16]byte{9},
		Sent: 3, SentAt: at, Heard: at, Worked: time.Second, Report: &wire.Report{Rollout: "r1", Proof: &wire.Proof{Statement: []byte{1}}}, Proven: at, Changed: at}
	set(RolloutChange{Rollout: &r, Devices: devices[:1], Events: []RolloutEvent{{At: at, Device: "dev-b", What: "proven", Who: "fleet"}}})

	if got, err := s.Rollout(t.Context(), "r1"); err != nil || cmp.Diff(&r, got) != "" {
		t.Error(err, cmp.Diff(&r, got))
	}
	if got, err := s.RolloutDevices(t.Context(), "r1"); err != nil || cmp.Diff(devices, got, protocmp.Transform()) != "" {
		t.Error(err, cmp.Diff(devices, got, protocmp.Transform()))
	}
	events, err := s.RolloutEvents(t.Context(), "r1", 10)
	if err != nil || len(events) != 2 || events[0].Device != "dev-b" || events[1].What != "begun" {
		t.Errorf("%v %+v", err, events)
	}
	second := r
	second.ID, second.Ended = "r2", time.Time{}
	set(RolloutChange{Rollout: &second})
	if open, err := s.OpenRollouts(t.Context()); err != nil || len(open) != 1 || open[0].ID != "r2" {
		t.Errorf("%v %+v", err, open)
	}
	if all, err := s.Rollouts(t.Context(), 1); err != nil || len(all) != 1 || all[0].ID != "r2" {
		t.Errorf("%v %+v", err, all)
	}
	if _, err := s.Rollout(t.Context(), "r3"); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v", err)
	}
	// All of a change is written, or none.
	third := r
	third.ID = "r3"
	err = s.SetRollouts(t.Context(), RolloutChange{Rollout: &third, Devices: []RolloutDevice{{Device: "dev-stranger"}}})
	if _, there := s.Rollout(t.Context(), "r3"); !errors.Is(err, ErrNotFound) || !errors.Is(there, ErrNotFound) {
		t.Errorf("got %v, %v", err, there)
	}
}

// TestWitness: a device's records are what they are said to be, aren't, or
// haven't come.
func TestWitness(t *testing.T) {
	s := fresh(t)
	enrol(t, s, "dev-a", "dev-b")
	by := func(bundle, station string) func(*wire.Result) {
		return func(r *wire.Result) { r.BundleDigest, r.Station = bundle, station }
	}
	under := func(bundle, station, recipe string) func(*wire.Result) {
		return func(r *wire.Result) { r.BundleDigest, r.Station, r.Recipe = bundle, station, recipe }
	}
	take(t, s, []uint64{8, 3},
		batch("dev-a", 1<<63, record(1, vision.Pass, by("old", "st1")), record(2, vision.Pass, by("new", "st1")), record(3, vision.Fail, by("new", "st1")),
			record(4, vision.Pass, by("new", "st2")), told(5, 3, vision.Pass, "amended"), hole(&wire.Hole{First: 6, Last: 7}), record(8, vision.Pass, by("old", "st2"))),
		batch("dev-b", 1, record(1, vision.Pass, by("new", "st1")), record(2, vision.Pass, under("new", "st3", "blue")), record(3, vision.Pass, under("other", "st3", "red"))))
	for i, tt := range []struct {
		device  string
		epoch   uint64
		station string
		seqs    []uint64
		want    Witness
	}{
		{"dev-a", 1 << 63, "st1", []uint64{2, 3}, Witness{Right: 2, Newest: "new"}},
		{"dev-a", 1 << 63, "st1", []uint64{3}, Witness{Right: 1, Newest: "new"}},
		{"dev-a", 1 << 63, "st2", []uint64{4}, Witness{Right: 1, Newest: "old"}},
		{"dev-a", 1 << 63, "st1", []uint64{2, 9, 10}, Witness{Right: 1}},
		{"dev-a", 1 << 63, "st1", []uint64{1}, Witness{Wrong: 1}},              // by another bundle
		{"dev-a", 1 << 63, "st1", []uint64{4}, Witness{Wrong: 4}},              // another station's
		{"dev-a", 1 << 63, "st1", []uint64{2, 5}, Witness{Right: 1, Wrong: 5}}, // no result
		{"dev-a", 1 << 63, "st1", []uint64{2, 6}, Witness{Right: 1, Wrong: 6}}, // will never come
		{"dev-a", 1 << 63, "st1", []uint64{0}, Witness{Wrong: 0}},              // numbers begin with 1
		{"dev-a", 1 << 63, "st1", []uint64{1 << 63, 1<<64 - 1}, Witness{}},     // beyond all that can come
		{"dev-a", 1, "st1", []uint64{1}, Witness{}},                            // another device's epoch
		{"dev-b", 1, "st1", []uint64{1}, Witness{Right: 1, Newest: "new"}},
		{"dev-c", 1, "st1", []uint64{1}, Witness{}},
		{"dev-b", 1, "st3@blue", []uint64{2}, Witness{Right: 1, Newest: "new"}}, // another recipe's newer results are by another bundle
		{"dev-b", 1, "st3@red", []uint64{2}, Witness{Wrong: 2}},                 // of another recipe
		{"dev-b", 1, "st3", []uint64{2}, Witness{Right: 1, Newest: "other"}},
	} {
		got, err := s.Witness(t.Context(), tt.device, tt.epoch, tt.station, "new", tt.seqs)
		if err != nil || got != tt.want {
			t.Errorf("%d: got %+v, %v, want %+v", i, got, err, tt.want)
		}
	}
	for _, n := range []int{0, MaxWitnessed + 1} {
		if _, err := s.Witness(t.Context(), "dev-a", 1, "st1", "new", make([]uint64, n)); err == nil {
			t.Errorf("%d records were looked for", n)
		}
	}
}

func TestPresent(t *testing.T) {
	s := fresh(t)
	enrol(t, s, "dev-a", "dev-b")
	if err := s.Heard(t.Context(), []Sign{{Device: "dev-a", At: s.Now(), Hello: &wire.Hello{Connection: 7}}}); err != nil {
		t.Fatal(err)
	}
	for group, n := range map[string]int{"": 2, "line4": 2, "line5": 0} {
		got, err := s.Present(t.Context(), group)
		if err != nil || len(got) != n {
			t.Errorf("group %q: %v, %d", group, err, len(got))
		}
		for i := range got {
			whole, err := s.Device(t.Context(), got[i].ID)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(*whole, got[i], cmpopts.IgnoreFields(Device{}, "Hostname", "CertSerial", "CertNotAfter", "Connection", "Hello", "State", "StateAt", "Epoch", "Watermark", "Last")); diff != "" {
				t.Error(diff)
			}
		}
	}
}

// TestMigrationToRollouts: a database of before has rollouts and all that it
// had.
func TestMigrationToRollouts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fleet.db")
	with(t, path, func(s *Store) {
		enrol(t, s, "dev-a")
		take(t, s, []uint64{2}, batch("dev-a", 1, record(1, vision.Pass), record(2, vision.Fail)))
		for _, text := range append(withoutTriggers, "DROP TABLE rollout_event", "DROP TABLE rollout_device", "DROP TABLE rollout", "DELETE FROM goose_db_version WHERE version_id > 2") {
			if _, err := s.writer.Exec(text); err != nil {
				t.Fatal(err)
			}
		}
	})
	s := open(t, path)
	totals(t, s, "dev-a", Totals{Results: 2, Pass: 1, Fail: 1})
	r := Rollout{ID: "r1", Conditions: "{}"}
	if err := s.SetRollouts(t.Context(), RolloutChange{Rollout: &r, Devices: []RolloutDevice{{Device: "dev-a"}}}); err != nil {
		t.Error(err)
	}
}
