package journal

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
)

const (
	childDir     = "SIGHTLINE_TEST_JOURNAL_CHILD" // in the child: the journal's folder
	kills        = "SIGHTLINE_KILLS"              // how often TestKill kills; 20 without
	childWriters = 8
)

func TestMain(m *testing.M) {
	for name, run := range map[string]func(string) error{childDir: child, retainDir: retainChild} {
		if dir := os.Getenv(name); dir != "" {
			if err := run(dir); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		}
	}
	os.Exit(m.Run())
}

// child appends for ever with several writers, each of which numbers its own
// records, and prints "<sequence> <run> <writer> <number>" once one is
// acknowledged. Each third is amended, which prints "<sequence> amends <of>".
func child(dir string) error {
	j, opened, err := Open(dir)
	if err != nil {
		return err
	}
	if opened != (Opened{}) {
		return fmt.Errorf("after a kill: %+v", opened)
	}
	run := j.Stats().Last // no two runs begin after the same record
	var out sync.Mutex
	for w := range uint64(childWriters) {
		go func() {
			rnd := rand.New(rand.NewPCG(run, w))
			for n := uint64(1); ; n++ {
				p := j.Append(childBody(run, w, n, rnd.IntN(3000)))
				<-p.Done()
				seq, err := p.Result()
				line := fmt.Sprintln(seq, run, w, n)
				if err == nil && n%3 == 0 {
					a := j.Amend(seq, childBody(run, w, n, 0))
					<-a.Done()
					var at uint64
					at, err = a.Result()
					line += fmt.Sprintln(at, "amends", seq)
				}
				if err != nil {
					line = fmt.Sprintln("error", err)
				}
				out.Lock()
				_, _ = os.Stdout.WriteString(line) // the parent's end closes only with it
				out.Unlock()
			}
		}()
	}
	return j.Run(context.Background())
}

func childBody(run, writer, n uint64, extra int) []byte {
	b := make([]byte, 24+extra)
	binary.LittleEndian.PutUint64(b, run)
	binary.LittleEndian.PutUint64(b[8:], writer)
	binary.LittleEndian.PutUint64(b[16:], n)
	return b
}

type record struct{ run, writer, n uint64 }

// TestKill: a child appends, is killed with -9 at any moment, and all that it
// said was acknowledged is there afterwards, in order and once.
func TestKill(t *testing.T) {
	times := 20
	if s := os.Getenv(kills); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatalf("%s: %v", kills, err)
		}
		times = n
	}
	dir := t.TempDir()
	acked, amended := map[uint64]record{}, map[uint64]uint64{}
	for range times {
		runAndKill(t, dir, 1+rand.IntN(400), acked, amended)
		checkAll(t, dir, acked, amended)
		if t.Failed() {
			return
		}
	}
	t.Logf("%d kills: %d records and %d amendments were acknowledged, and all are there", times, len(acked), len(amended))
}

// runAndKill kills the child after that many lines, and reads what it had
// said until then.
func runAndKill(t *testing.T, dir string, lines int, acked map[uint64]record, amended map[uint64]uint64) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewScanner(out)
	for n := 0; in.Scan(); n++ {
		var seq, of uint64
		var r record
		if _, err := fmt.Sscanf(in.Text(), "%d amends %d", &seq, &of); err == nil {
			amended[of] = seq
		} else if _, err := fmt.Sscan(in.Text(), &seq, &r.run, &r.writer, &r.n); err == nil {
			if had, twice := acked[seq]; twice {
				t.Errorf("record %d was given to %+v and to %+v", seq, had, r)
			}
			acked[seq] = r
		} else {
			t.Errorf("the child said %q", in.Text())
		}
		if n == lines {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil || err.Error() != "signal: killed" {
		t.Errorf("the child ended with %v before it was killed", err)
	}
}

// checkAll reads the journal and holds it against what was acknowledged.
func checkAll(t *testing.T, dir string, acked map[uint64]record, amended map[uint64]uint64) {
	t.Helper()
	j, opened, err := Open(dir)
	if err != nil || opened != (Opened{}) {
		t.Fatalf("open after a kill: %+v, %v", opened, err)
	}
	defer func() {
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	}()
	rows, err := j.After(0, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	next := map[[2]uint64]uint64{}
	for i, r := range rows {
		if r.Seq != uint64(i+1) {
			t.Fatalf("record %d follows %d", r.Seq, i)
		}
		e := binary.LittleEndian
		got := record{e.Uint64(r.Body), e.Uint64(r.Body[8:]), e.Uint64(r.Body[16:])}
		if r.Amends != 0 {
			if of := rows[r.Amends-1]; string(of.Body[:24]) != string(r.Body[:24]) {
				t.Errorf("record %d amends %d, whose body is another's", r.Seq, r.Amends)
			}
			if at, ok := amended[r.Amends]; ok && at != r.Seq {
				t.Errorf("record %d amends %d, acknowledged was %d", r.Seq, r.Amends, at)
			}
			delete(amended, r.Amends)
			amended[r.Amends] = r.Seq
			continue
		}
		if want, ok := acked[r.Seq]; ok && got != want {
			t.Errorf("record %d is %+v, acknowledged was %+v", r.Seq, got, want)
		}
		writer := [2]uint64{got.run, got.writer}
		if next[writer]++; got.n != next[writer] {
			t.Errorf("writer %v's record %d follows %d", writer, got.n, next[writer]-1)
		}
	}
	for seq := range acked {
		if seq == 0 || seq > uint64(len(rows)) || rows[seq-1].Amends != 0 {
			t.Errorf("record %d was acknowledged and isn't there; the last is %d", seq, len(rows))
		}
	}
	for of, seq := range amended {
		if seq > uint64(len(rows)) || rows[seq-1].Amends != of {
			t.Errorf("amendment %d was acknowledged and isn't there; the last is %d", seq, len(rows))
		}
	}
	if bad := j.Stats().Bad; bad != 0 {
		t.Errorf("%d records are damaged", bad)
	}
}
