package api

import (
	"fmt"
	"strings"

	"github.com/sightline-edge/sightline/board"
	"github.com/sightline-edge/sightline/internal/web"
)

// boardView is the hardware as a page shows it: only the rows that there is
// something to say in.
type boardView struct {
	Name string
	Rows []boardRow
}

type boardRow struct{ Name, Value, More string }

// viewBoard is nil where nothing was read.
func viewBoard(r *board.Reading) *boardView {
	if r == nil {
		return nil
	}
	v := &boardView{Name: r.Identity.Model}
	row := func(name, value string, more ...string) {
		var said []string
		for _, m := range more {
			if m != "" {
				said = append(said, m)
			}
		}
		if value == "" && len(said) > 0 {
			value, said = said[0], said[1:]
		}
		if value != "" {
			v.Rows = append(v.Rows, boardRow{name, value, strings.Join(said, " · ")})
		}
	}
	row("Processor", percent(r.CPU, "busy"), tell(r.Load, "load %.2f"), cores(r.Identity.Cores))
	row("Memory", used(r.MemoryTotal, r.MemoryAvailable))
	for _, g := range r.GPUs {
		memory := ""
		if g.MemoryTotal != nil && g.MemoryUsed != nil {
			memory = fmt.Sprintf("%s of %s", size(*g.MemoryUsed), size(*g.MemoryTotal))
		}
		row("GPU", percent(g.Load, "busy"), tell(g.Celsius, "%.0f °C"), memory, tell(g.Power, "%.0f W"), hertz(g.Clock),
			strings.Join(g.Throttled, ", "), g.Name)
	}
	row("Hottest", hottest(r.Temperatures))
	row("Power", tell(r.Power, "%.1f W"), mode(r.PowerMode))
	row("Fan", fan(r.Fans))
	if r.DiskTotal != nil && r.DiskFree != nil {
		row("Disk", size(*r.DiskFree)+" free", "of "+size(*r.DiskTotal))
	}
	row("System", r.Identity.OS, jetson(r.Identity))
	if len(v.Rows) == 0 {
		return nil
	}
	return v
}

func tell(v *float64, format string) string {
	if v == nil {
		return ""
	}
	return fmt.Sprintf(format, *v)
}

func percent(share *float64, word string) string {
	if share == nil {
		return ""
	}
	return fmt.Sprintf("%.0f %% %s", *share*100, word)
}

func cores(n int) string {
	switch n {
	case 0:
		return ""
	case 1:
		return "1 core"
	}
	return fmt.Sprintf("%d cores", n)
}

func used(total, available *uint64) string {
	switch {
	case total == nil:
		return ""
	case available == nil:
		return size(*total)
	}
	return fmt.Sprintf("%s of %s used", size(*total-min(*available, *total)), size(*total))
}

// size in units of a thousand, to a tenth below ten.
func size(bytes uint64) string {
	v, unit := float64(bytes)/1e6, "MB"
	if v >= 999.5 {
		v, unit = v/1e3, "GB"
	}
	if v >= 999.5 {
		v, unit = v/1e3, "TB"
	}
	if v < 9.95 && unit != "MB" {
		return fmt.Sprintf("%.1f %s", v, unit)
	}
	return fmt.Sprintf("%.0f %s", v, unit)
}

func hertz(hz *uint64) string {
	if hz == nil {
		return ""
	}
	return fmt.Sprintf("%d MHz", *hz/1_000_000)
}

// hottest is the highest temperature and whose it is.
func hottest(list []board.Temperature) string {
	if len(list) == 0 {
		return ""
	}
	top := list[0]
	for _, t := range list[1:] {
		if t.Celsius > top.Celsius {
			top = t
		}
	}
	return fmt.Sprintf("%.0f °C at %s", top.Celsius, top.Name)
}

func mode(name string) string {
	if name == "" {
		return ""
	}
	return "mode " + strings.TrimPrefix(name, "mode ")
}

// fan is the first that turns, and how hard it is driven.
func fan(list []board.Fan) string {
	var said []string
	for _, f := range list {
		if f.RPM != nil && *f.RPM > 0 {
			said = append(said, web.Count(int(*f.RPM))+" rpm")
			break
		}
	}
	for _, f := range list {
		if f.Drive != nil {
			said = append(said, percent(f.Drive, "drive"))
			break
		}
	}
	return strings.Join(said, ", ")
}

func jetson(id board.Identity) string {
	var said []string
	if id.JetPack != "" {
		said = append(said, "JetPack "+id.JetPack)
	}
	if id.L4T != "" {
		said = append(said, "Jetson Linux "+id.L4T)
	}
	return strings.Join(said, ", ")
}
