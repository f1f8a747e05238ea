package main

import (
	"bytes"
	"context"
	"database/sql"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/fleet"
)

// A clock that once stood ten years ahead is undone, and not while a service
// would put it back.
func TestSetClockBack(t *testing.T) {
	dir := initFleet(t)
	db, err := sql.Open("sqlite", filepath.Join(dir, fleet.DatabaseName))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(`UPDATE meta SET value = ? WHERE name = 'newest_time'`, time.Now().AddDate(10, 0, 0).UnixNano()); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	_, stop := serve(t, dir)
	fails(t, "in use", "set-clock-back", "--data", dir)
	if code, said := stop(); code != 0 {
		t.Fatalf("serve ended with %d: %s", code, said)
	}
	var out bytes.Buffer
	if code := run(context.Background(), []string{"set-clock-back", "--data", dir}, &out, io.Discard); code != 0 || !strings.Contains(out.String(), "the fleet's time was 20") {
		t.Errorf("code %d: %s", code, out.String())
	}
	st, err := fleet.OpenStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	if off := time.Until(st.Now()); off > time.Minute {
		t.Errorf("the fleet's time is %v ahead", off)
	}
	fails(t, "there is no fleet yet", "set-clock-back", "--data", filepath.Join(dir, "nowhere"))
}
