package config

import (
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// Cascade is a station's large model, which looks at the parts that are in doubt.
type Cascade struct {
	Large        string    `yaml:"large" example:"drawn-parts-large" doc:"The large model: an ONNX file, a bundle's folder, or the name of one that is shipped, with the same labels as the station's, which may come with a signed bundle. It runs in a process of its own, which stations share."`
	Remote       Remote    `yaml:"remote" doc:"Instead of large: a model on a server that speaks the Open Inference Protocol (KServe, Triton, sightline-agent serve). The station must allow_pixels_out."`
	Family       string    `yaml:"family" doc:"How the large model's output is read, for plain files that don't tell it. Of a remote one, empty: as the station's model, which it is then fed like too."`
	Doubt        []float64 `yaml:"doubt" example:"[0.2, 0.7]" doc:"Scores that are in doubt, from the lower to the higher, 0 to 1: a part whose worst defect lies between, both included; of a model that scores the picture, that score. sightline-agent eval --cascade proposes them. Empty: none is."`
	Disagreement bool      `yaml:"disagreement" doc:"A part is in doubt too if it would be decided differently by each defect's highest score in any one picture than by all pictures together, or by one of its cameras than by another."`
	Look         Shown     `yaml:"look" doc:"What the large model sees: frame (the whole picture, as the station's model does) or crop (the part with a margin around it, in all its pixels)."`
	BudgetMS     float64   `yaml:"budget_ms" doc:"What the large model may cost, ms a part on average over the newest hundred parts of the station; beyond it, it doesn't look. 0: any."`
	Otherwise    Otherwise `yaml:"otherwise" doc:"What a part in doubt gets while the large model can't look: none (NONE doubt, which rejects) or small (the verdict that stood before). Where the rule asked it is always NONE doubt."`
}

// On tells whether there is a large model.
func (c *Cascade) On() bool { return c.Large != "" || c.Remote.URL != "" }

// Remote is a large model on another machine.
type Remote struct {
	URL     string        `yaml:"url" example:"https://192.0.2.20:8000" doc:"The server's address, below which /v2 stands."`
	Model   string        `yaml:"model" example:"parts" doc:"Name of the model there."`
	Version string        `yaml:"version" doc:"Its version. Empty: the server's choice."`
	Timeout time.Duration `yaml:"timeout" doc:"How long an answer may take, 1ms to 1m. What takes longer is given up; so is, sooner, what would miss the part's deadline."`
	Token   string        `yaml:"token_file" doc:"A file with a bearer token, or the name of a systemd credential; only over https. Empty: none."`
	CA      string        `yaml:"ca_file" doc:"PEM certificates by which the server is checked. Empty: the system's."`
	Size    []int         `yaml:"size" example:"[640, 640]" doc:"Width and height of the model's input, where that takes any."`
	Preset  string        `yaml:"preset" doc:"How pictures are fed to it, as sightline-agent predict --preset has it, where family is set."`
}

// Shown says what the large model sees of a part.
type Shown string

// The values of Shown.
const (
	Frame Shown = "frame" // the whole picture
	Crop  Shown = "crop"  // the part with a margin
)

// Otherwise says what a part in doubt gets while the large model can't look.
type Otherwise string

// The values of Otherwise.
const (
	AsNone  Otherwise = "none"  // NONE doubt
	AsSmall Otherwise = "small" // what the station's own model led to
)

func defaultCascade() Cascade {
	return Cascade{Look: Frame, Otherwise: AsNone, Remote: Remote{Timeout: 200 * time.Millisecond}}
}

// defaultRecipe is a recipe before its part of a file is read.
func defaultRecipe() Recipe { return Recipe{Cascade: defaultCascade()} }

// Budget is BudgetMS as a time.
func (c *Cascade) Budget() time.Duration {
	return time.Duration(c.BudgetMS * float64(time.Millisecond))
}

// cascade checks the large model of a station, or of one of its recipes, at that key.
func (v *validator) cascade(key string, c *Cascade, s *Station) {
	if !v.set(key) {
		return
	}
	at := func(name string) string { return key + "." + name }
	switch {
	case c.On() && c.Large != "" && v.set(at("remote")):
		v.fault(at("remote"), "large and remote are both set: one model looks, keep one of them")
	case v.set(at("remote")):
		v.remote(at("remote"), &c.Remote, s)
	case c.Large == "":
		v.fault(at("large"), "is missing: the large model, as an ONNX file, a bundle's folder or the name of a shipped one; or a remote one")
	default:
		one := Station{Model: c.Large, Unsigned: s.Unsigned}
		v.model(at("large"), &one)
		c.Large = one.Model
	}
	if b := c.Doubt; len(b) > 0 && (len(b) != 2 || !(b[0] >= 0 && b[0] <= b[1] && b[1] <= 1)) {
		v.fault(at("doubt"), "must be two scores, the lower one first, between 0 and 1, as [0.2, 0.7], got %v", b)
	}
	if c.Look != Frame && c.Look != Crop {
		v.fault(at("look"), "must be frame or crop, got %s", shown(string(c.Look)))
	}
	if c.Otherwise != AsNone && c.Otherwise != AsSmall {
		v.fault(at("otherwise"), "must be none or small, got %s", shown(string(c.Otherwise)))
	}
	if b := c.BudgetMS; !(b >= 0 && b <= 1e6) {
		v.fault(at("budget_ms"), "must be 0 to 1000000 ms, got %v", b)
	}
}

// cascades checks those of a station and its recipes.
func (v *validator) cascades(key func(string) string, s *Station) {
	v.cascade(key("cascade"), &s.Cascade, s)
	for i := range s.Recipes {
		v.cascade(fmt.Sprintf("%s[%d].cascade", key("recipes"), i), &s.Recipes[i].Cascade, s)
	}
}

// remote checks a model on another machine. Whether the server is there is seen when it
// is asked.
func (v *validator) remote(key string, r *Remote, s *Station) {
	at := func(name string) string { return key + "." + name }
	if !s.PixelsOut {
		v.fault(key, "pictures of station %s would leave this device for the server: set allow_pixels_out: true at the station if they may, or use a large model here", shown(s.ID))
	}
	u, err := url.Parse(r.URL)
	switch {
	case r.URL == "":
		v.fault(at("url"), "is missing: the server's address, as https://192.0.2.20:8000")
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		v.fault(at("url"), "must be http:// or https:// and a host, got %s", shown(r.URL))
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		v.fault(at("url"), "must have no user, password, query or fragment: a token stands in a file, named as token_file")
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		v.warn(at("url"), "pictures go to %s unencrypted, and nobody checks who the server is: use https", shown(r.URL))
	}
	if r.Model == "" {
		v.fault(at("model"), "is missing: the name of the model on the server")
	}
	if r.Timeout < time.Millisecond || r.Timeout > time.Minute {
		v.fault(at("timeout"), "must be 1ms to 1m, got %v", r.Timeout)
	}
	if n := r.Size; len(n) > 0 && (len(n) != 2 || n[0] < 1 || n[1] < 1) {
		v.fault(at("size"), "must be width and height, as [640, 640], got %v", n)
	}
	if strings.ContainsRune(r.Token, '/') { // else it may be a credential's name
		r.Token = v.file(at("token_file"), r.Token)
	}
	r.CA = v.file(at("ca_file"), r.CA)
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}
