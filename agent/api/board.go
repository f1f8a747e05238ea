package api

import (
	"context"
	"math"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/sightline-edge/sightline/board"
)

// Board is what the hardware measures. What isn't there wasn't measured.
type Board struct {
	Time            time.Time     `json:"time" doc:"of the reading"`
	Model           string        `json:"model,omitempty" doc:"of the board, as the device tree or DMI names it" example:"NVIDIA Jetson Orin Nano Developer Kit"`
	Serial          string        `json:"serial,omitempty" doc:"of the board"`
	OS              string        `json:"os,omitempty" example:"Ubuntu 22.04.5 LTS"`
	Kernel          string        `json:"kernel,omitempty" example:"5.15.148-tegra"`
	L4T             string        `json:"l4t,omitempty" doc:"version of Jetson Linux" example:"36.4.3"`
	JetPack         string        `json:"jetpack,omitempty" doc:"the JetPack release that is installed or that its Jetson Linux belongs to" example:"6.2"`
	PowerMode       string        `json:"power_mode,omitempty" doc:"of a Jetson, as nvpmodel names it" example:"15W"`
	Cores           int           `json:"cores,omitempty" doc:"processors that are on"`
	CPU             *float64      `json:"cpu_busy,omitempty" doc:"share of all processors that was busy since the reading before, 0 to 1"`
	Load            *float64      `json:"load_1m,omitempty" doc:"one minute's load average"`
	MemoryTotal     *uint64       `json:"memory_total_bytes,omitempty"`
	MemoryAvailable *uint64       `json:"memory_available_bytes,omitempty" doc:"that programs could still get"`
	Temperatures    []Temperature `json:"temperatures,omitempty"`
	GPUs            []GPU         `json:"gpus,omitempty"`
	Power           *float64      `json:"power_w,omitempty" doc:"into the whole module, where one rail measures that"`
	Rails           []Rail        `json:"rails,omitempty" doc:"supplies that the board measures"`
	Fans            []Fan         `json:"fans,omitempty"`
	DiskTotal       *uint64       `json:"disk_total_bytes,omitempty" doc:"of the file system that holds the data directory"`
	DiskFree        *uint64       `json:"disk_free_bytes,omitempty" doc:"of it, what the agent may still use"`
	Unread          []Unread      `json:"unread,omitempty" doc:"what is there but couldn't be read or believed"`
}

// Temperature is one sensor's.
type Temperature struct {
	Name    string  `json:"name" example:"cpu-thermal"`
	Celsius float64 `json:"temperature_c"`
}

// GPU is one accelerator.
type GPU struct {
	Name        string   `json:"name"`
	Integrated  bool     `json:"integrated,omitempty" doc:"it shares the board's memory"`
	Load        *float64 `json:"load,omitempty" doc:"0 to 1"`
	Celsius     *float64 `json:"temperature_c,omitempty"`
	MemoryTotal *uint64  `json:"memory_total_bytes,omitempty"`
	MemoryUsed  *uint64  `json:"memory_used_bytes,omitempty"`
	Power       *float64 `json:"power_w,omitempty"`
	Clock       *uint64  `json:"clock_hz,omitempty" doc:"now"`
	ClockMax    *uint64  `json:"clock_max_hz,omitempty"`
	Throttled   []string `json:"throttled,omitempty" doc:"why it runs slower than it could"`
}

// Rail is one supply.
type Rail struct {
	Name  string   `json:"name" example:"VDD_IN"`
	Volts *float64 `json:"voltage_v,omitempty"`
	Amps  *float64 `json:"current_a,omitempty"`
	Watts *float64 `json:"power_w,omitempty"`
}

// Fan is one fan, or one of the two halves of it that the kernel shows.
type Fan struct {
	Name  string   `json:"name"`
	Drive *float64 `json:"drive,omitempty" doc:"how hard it is driven, 0 to 1"`
	RPM   *uint64  `json:"speed_rpm,omitempty"`
}

// Unread is a file of the kernel, or nvml, that gave nothing to believe.
type Unread struct {
	Path string `json:"path"`
	Why  string `json:"why"`
}

// NewBoard is a reading as JSON has it.
func NewBoard(r *board.Reading) Board {
	id := r.Identity
	out := Board{
		Time: r.Time, Model: id.Model, Serial: id.Serial, OS: id.OS, Kernel: id.Kernel, L4T: id.L4T, JetPack: id.JetPack,
		PowerMode: r.PowerMode, Cores: id.Cores, CPU: round(r.CPU), Load: r.Load, MemoryTotal: r.MemoryTotal,
		MemoryAvailable: r.MemoryAvailable, Power: round(r.Power), DiskTotal: r.DiskTotal, DiskFree: r.DiskFree,
	}
	for _, t := range r.Temperatures {
		out.Temperatures = append(out.Temperatures, Temperature(t))
	}
	for _, g := range r.GPUs {
		g.Load, g.Power = round(g.Load), round(g.Power)
		out.GPUs = append(out.GPUs, GPU(g))
	}
	for _, l := range r.Rails {
		out.Rails = append(out.Rails, Rail{l.Name, round(l.Volts), round(l.Amps), round(l.Watts)})
	}
	for _, f := range r.Fans {
		out.Fans = append(out.Fans, Fan{f.Name, round(f.Drive), f.RPM})
	}
	for _, p := range r.Problems {
		out.Unread = append(out.Unread, Unread(p))
	}
	return out
}

// round is to thousandths, which no sensor here is better than.
func round(v *float64) *float64 {
	if v == nil {
		return nil
	}
	r := math.Round(*v*1000) / 1000
	return &r
}

type boardOutput struct{ Body Board }

func (s *Server) getBoard(context.Context, *struct{}) (*boardOutput, error) {
	r := s.source.Now().Board
	if r == nil {
		return nil, huma.Error404NotFound("the board isn't read by this agent, or has not been read yet")
	}
	return &boardOutput{NewBoard(r)}, nil
}
