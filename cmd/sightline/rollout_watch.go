package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

const (
	watchEvery = time.Second
	// patienceWithFleet is how long a fleet may be away while it is watched: it
	// may be started anew, and the rollout goes on then.
	patienceWithFleet = 5 * time.Minute
	barLength         = 40
)

// watchRollout shows a rollout until nothing more happens by itself. On a
// terminal it is drawn in place, else each change is a line.
func watchRollout(ctx context.Context, out io.Writer, l *login, id string, raw bool) error {
	screen, _ := out.(*os.File)
	if screen != nil && !term.IsTerminal(int(screen.Fd())) {
		screen = nil
	}
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	var w watcher
	answered := time.Now()
	for {
		r, err := askRollout(ctx, l, id)
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("stopped watching; rollout %s goes on", id)
		case errors.Is(err, errLoggedOut), err != nil && (w.last == nil || time.Since(answered) > patienceWithFleet):
			return err
		case err == nil:
			answered = time.Now()
			if !raw {
				err = w.show(out, screen, r)
			}
			if err != nil {
				return err
			}
			w.last = r
			if !r.ended() {
				break
			}
			if raw {
				err = asJSON(out, r)
			}
			return errors.Join(err, r.code())
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// watcher remembers what it has shown.
type watcher struct {
	last  *rolloutAnswer
	lines int // drawn on the screen
}

func (w *watcher) show(out io.Writer, screen *os.File, r *rolloutAnswer) error {
	if screen == nil {
		_, err := io.WriteString(out, changes(w.last, r, time.Now()))
		return err
	}
	columns, rows, err := term.GetSize(int(screen.Fd()))
	if err != nil {
		columns, rows = 80, 24
	}
	text := r.draw(columns, rows-1)
	up := ""
	if w.lines > 0 {
		up = fmt.Sprintf("\x1b[%dA", w.lines)
	}
	w.lines = strings.Count(text, "\n")
	_, err = io.WriteString(screen, up+"\r"+strings.ReplaceAll(text, "\n", "\x1b[K\n")+"\x1b[J")
	return err
}

// changes are lines about what differs.
func changes(was, is *rolloutAnswer, now time.Time) string {
	var b strings.Builder
	line := func(format string, args ...any) {
		fmt.Fprintf(&b, "%s  %s\n", now.Format(time.TimeOnly), clean(fmt.Sprintf(format, args...)))
	}
	if was == nil {
		line("%s %s to group %s, rollout %s", is.Bundle, is.Version, is.Group, is.ID)
		was = new(rolloutAnswer)
	}
	before := map[string]crewAnswer{}
	for _, d := range was.Devices {
		before[d.Device] = d
	}
	for _, d := range is.Devices {
		b := before[d.Device]
		if (b.State != d.State || b.Reason != d.Reason) && d.State != "planned" {
			line("wave %d  %s  %s", d.Wave, d.Device, d.word())
		}
	}
	if was.State != is.State || was.Reason != is.Reason {
		line("%s: %s; %s", is.State, is.Reason, is.proven("proven"))
	}
	return b.String()
}

// word is a device's state with its reason.
func (d *crewAnswer) word() string {
	text := d.State
	if d.State == "transferring" && d.Total > 0 {
		text += fmt.Sprintf(" %d %%", min(d.Done, d.Total)*100/d.Total)
	}
	if d.Reason != "" && d.Reason != d.State {
		text += ", " + d.Reason
	}
	if d.Text != "" {
		text += ": " + d.Text
	}
	if d.Unmeasured != "" && d.Reason != "unmeasured" {
		text += "; its golden pictures passed, unmeasured on it: " + d.Unmeasured
	}
	return text
}

// draw is the rollout as text: waves as bars, then the devices, those first
// that need somebody. Zero columns and rows are as many as it takes.
func (r *rolloutAnswer) draw(columns, rows int) string {
	group := "group " + r.Group
	if r.Group == "*" {
		group = "all devices"
	}
	lines := []string{fmt.Sprintf("%s %s to %s: %s  (rollout %s)", r.Bundle, r.Version, group, strings.ReplaceAll(r.State, "_", " "), r.ID)}
	if r.Reason != "" {
		lines = append(lines, r.Reason)
	}
	lines = append(lines, "")
	for i := range r.Waves {
		lines = append(lines, fmt.Sprintf("wave %d  %s  %s", i+1, r.Waves[i].bar(), r.Waves[i].words()))
	}
	lines = append(lines, "")
	lines = append(lines, r.crew(columns, rows-len(lines), rows > 0)...)
	for i, line := range lines {
		lines[i] = fit(clean(line), columns)
	}
	return strings.Join(lines, "\n") + "\n"
}

// crew are lines of the devices, at most so many if they are limited.
func (r *rolloutAnswer) crew(columns, most int, limited bool) []string {
	t := table{head: []string{"DEVICE", "LABEL", "WAVE", "STATE", "NEXT"}}
	left := 0
	for _, rank := range []func(state string) bool{needsSomebody, atWork, settled} {
		for i := range r.Devices {
			d := &r.Devices[i]
			switch {
			case !rank(d.State):
			case limited && len(t.rows) >= most-2:
				left++
			default:
				t.add(d.Device, d.Label, fmt.Sprint(d.Wave), fit(clean(d.word()), columns/2), d.Waits)
			}
		}
	}
	if len(t.rows) == 0 {
		return nil
	}
	var b strings.Builder
	_ = t.write(&b) // a strings.Builder takes all
	lines := strings.Split(strings.TrimRight(b.String(), "\n"), "\n")
	if left > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", left))
	}
	return lines
}

func needsSomebody(state string) bool {
	switch state {
	case "failed", "lying", "silent", "waiting_operator", "waiting_window":
		return true
	}
	return false
}

func settled(state string) bool {
	switch state {
	case "proven", "planned", "no_stations", "revoked", "cancelled", "kept", "rolled_back":
		return true
	}
	return false
}

func atWork(state string) bool { return !needsSomebody(state) && !settled(state) }

// counts are a wave's devices with the mark and the word for them, in the
// order of its bar.
func (w *waveAnswer) counts() []struct {
	n          int
	mark, word string
} {
	work := w.Size - w.Proven - w.Running - w.Failed - w.Silent - w.Waiting - w.Away - w.Planned - w.Finished - w.Out
	return []struct {
		n          int
		mark, word string
	}{
		{w.Proven - w.Unmeasured, "█", "proven"}, {w.Unmeasured, "~", "proven, unmeasured"}, {w.Running, "▓", "running, not proven"}, {work, "▒", "at work"}, {w.Waiting, "?", "waiting"},
		{w.Failed, "x", "failed"}, {w.Silent, "!", "silent"}, {w.Away, "-", "not connected"}, {w.Finished, "<", "went back or cancelled"},
		{w.Planned, "·", "planned"}, {w.Out, " ", "not counted"},
	}
}

// bar is a wave's devices in barLength marks, at least one for each kind.
func (w *waveAnswer) bar() string {
	var b strings.Builder
	place, done := 0, 0
	for _, c := range w.counts() {
		if c.n == 0 || w.Size == 0 {
			continue
		}
		done += c.n
		end := max(done*barLength/w.Size, place+1)
		b.WriteString(strings.Repeat(c.mark, end-place))
		place = end
	}
	return b.String() + strings.Repeat(" ", max(0, barLength-place))
}

func (w *waveAnswer) words() string {
	var all []string
	for _, c := range w.counts() {
		if c.n > 0 {
			all = append(all, fmt.Sprintf("%d %s", c.n, c.word))
		}
	}
	return strings.Join(all, ", ")
}

// fit cuts a text to so many places; 0 for all of it.
func fit(text string, columns int) string {
	if columns <= 0 || width(text) < columns {
		return text
	}
	var b strings.Builder
	n := 0
	for _, r := range text {
		if n += width(string(r)); n > columns-2 {
			break
		}
		b.WriteRune(r)
	}
	return b.String() + "…"
}
