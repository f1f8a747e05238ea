package e2e

import (
	"bytes"
	"database/sql"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision/infer"
)

// TestFleetKilled: devices and the fleet, the broker inside it, are killed with
// -9 at any moment while results are made.
func TestFleetKilled(t *testing.T) { testKills(t, false) }

// TestFleetKilledWithMosquitto: devices, the fleet and Mosquitto are.
func TestFleetKilledWithMosquitto(t *testing.T) { testKills(t, true) }

func testKills(t *testing.T, outside bool) {
	t.Parallel()
	rounds := 1
	if full() {
		rounds = 60
	}
	c := newCentral(t, outside)
	db := c.database()
	devices := []*device{newDevice(t, c, "first"), newDevice(t, c, "second")}
	devices[1].set.Retain = 128 << 10 // what the fleet has said that it has is soon gone here
	for _, d := range devices {
		if full() {
			d.set.Rate = 800
		}
		d.start()
	}
	fleet := func() {
		c.process.kill()
		if rand.IntN(3) == 0 { // once more, before it serves
			c.begin()
			moment(200 * time.Millisecond)
			c.process.kill()
		}
		c.serve()
	}
	kills := []func(){fleet, func() {
		d := devices[rand.IntN(len(devices))]
		d.kill()
		d.start()
	}}
	if outside {
		kills = append(kills, func() {
			c.mosquitto.process.kill()
			moment(200 * time.Millisecond)
			c.mosquitto.start()
		})
	}
	var agent *enrolledStation
	if _, err := infer.FindLibrary(""); err != nil {
		t.Log("the real agent is left out: ", err)
	} else if !outside {
		agent = newEnrolledStation(t, c)
		kills = append(kills, agent.killed)
	}
	for range rounds {
		for _, i := range rand.Perm(len(kills)) {
			if rand.IntN(2) == 0 {
				moment(400 * time.Millisecond)
			} else {
				more(t, db, 1+rand.Uint64N(300))
			}
			kills[i]()
		}
	}
	for _, d := range devices {
		d.audit(c, d.stop())
	}
	if agent != nil {
		agent.audit(c)
	}
	t.Logf("%d kills of each kind", rounds)
}

// moment lasts for any time up to the limit.
func moment(limit time.Duration) { <-time.After(rand.N(limit)) }

// more waits until the fleet has so many records more.
func more(t *testing.T, db *sql.DB, n uint64) {
	t.Helper()
	before := stored(t, db, "")
	eventually(t, "more results at the fleet", func() bool { return stored(t, db, "") >= before+n })
}

// enrolledStation is a real agent that is part of a fleet.
type enrolledStation struct {
	*folderStation
	t       *testing.T
	id      string
	process *process
}

func newEnrolledStation(t *testing.T, c *central) *enrolledStation {
	t.Helper()
	e := enrolStation(t, c)
	e.process = e.run(t)
	return e
}

// enrolStation enrols one and doesn't run it.
func enrolStation(t *testing.T, c *central) *enrolledStation {
	t.Helper()
	s := newFolderStation(t, filepath.Join(t.TempDir(), "agent"), "")
	s.moveTo(t, lowAddress(t))
	printed(t, s.agent, "enroll", "--fleet", "https://"+c.https.Addr(), "--token", c.enrolToken(), "--config", s.config, "--station-label", "drawn")
	return &enrolledStation{folderStation: s, t: t, id: deviceOf(t, s.data)}
}

func (e *enrolledStation) killed() {
	e.process.kill()
	e.process = e.run(e.t)
}

// audit ends the agent, has what it left brought to the fleet and compares.
func (e *enrolledStation) audit(c *central) {
	e.t.Helper()
	e.process.finish()
	d := &device{t: e.t, id: e.id, set: settings{Data: e.data, Spread: 300 * time.Millisecond, Make: recipe{Name: "agent"}}}
	d.start()
	last := d.stop()
	n := c.has(e.id)[last.Epoch].auditJournal(e.t, e.data)
	e.t.Logf("the agent: %d results of %d records", n, last.Last)
}

// moveTo changes where the agent answers.
func (s *folderStation) moveTo(t *testing.T, address string) {
	t.Helper()
	text, err := os.ReadFile(s.config)
	if err == nil {
		err = os.WriteFile(s.config, bytes.ReplaceAll(text, []byte(s.address), []byte(address)), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	s.address = address
}
