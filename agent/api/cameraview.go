package api

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sightline-edge/sightline/internal/health"
	"github.com/sightline-edge/sightline/internal/web"
)

func (s *Server) addCameraPages(mux *http.ServeMux) {
	mux.HandleFunc("GET /cameras", s.camerasPage)
	mux.HandleFunc("GET /cameras/{camera}", s.cameraPage)
	mux.HandleFunc("POST /cameras/{camera}/{act}", s.cameraForm)
}

// cameraView is a camera as a page shows it.
type cameraView struct {
	*Camera
	Word, Class, Mark string // how it is doing
	Why               string
	Picture           string // address of its newest picture, empty while there is none
	Fresh             string // since its newest picture
	Rate              string
	Announced         string // said only where it isn't what comes
	Lost, Given       string // pictures that no station could have, of all that it gave
	Reasons           []string
	Process           string // how its process is doing
	Proofs            []proofView
	Wide, High        int // of the picture, to keep its place
}

// proofView is a fault of the pictures with the picture in which it was found.
type proofView struct {
	Lie
	Title, Do, URL string
}

// lies gives each fault's warning.
var lies = map[string]health.Warning{
	"frozen": health.CameraFrozen, "dark": health.CameraDark, "overexposed": health.CameraOverexposed,
	"blurred": health.CameraBlurred, "moved": health.CameraMoved, "flicker": health.CameraFlicker,
}

func viewCamera(c *Camera) cameraView {
	v := cameraView{Camera: c, Why: c.Error, Fresh: "none yet", Rate: rate(c.Rate), Lost: web.Count(int(c.Dropped.Total())), Given: web.Count(int(c.Captured)), Process: "never started again", Wide: c.Width, High: c.Height}
	if v.Wide <= 0 || v.High <= 0 {
		v.Wide, v.High = 16, 9
	}
	if c.LastFrame != nil {
		v.Fresh = web.Age(time.Since(*c.LastFrame)) + " ago"
		v.Picture = "/v1/cameras/" + url.PathEscape(c.ID) + "/picture.jpg?at=" + strconv.FormatInt(c.LastFrame.Unix(), 10)
	}
	if c.Announced > 0 && c.Rate > 0 && (c.Rate > 1.2*c.Announced || c.Rate < c.Announced/1.2) {
		v.Announced = fmt.Sprintf("it announces %.4g", c.Announced)
	}
	d := c.Dropped
	for _, r := range []struct {
		count  uint64
		reason string
	}{
		{d.Late, "a newer one was there already"}, {d.NoSlot, "no memory was free"}, {d.Unreadable, "broken"},
		{d.Incomplete, "parts were lost on the way"}, {d.Stale, "old when it came"},
	} {
		if r.count > 0 {
			v.Reasons = append(v.Reasons, web.Count(int(r.count))+": "+r.reason)
		}
	}
	if c.Restarts > 0 {
		v.Process = "started again " + web.Count(int(c.Restarts)) + " times"
		if c.Restarts == 1 {
			v.Process = "started again once"
		}
	}
	if c.Memory > 0 {
		v.Process += fmt.Sprintf(", %d MB of its own", c.Memory/1e6)
	}
	for _, l := range c.Lies {
		w := lies[l.Fault]
		v.Proofs = append(v.Proofs, proofView{Lie: l, Title: web.Sentence(w.Title), Do: w.Do, URL: proofURL(c.ID, l.Fault)})
	}
	v.say()
	return v
}

// say finds the word, the colour and the mark.
func (v *cameraView) say() {
	switch v.State {
	case "streaming":
		v.Word, v.Class, v.Mark, v.Why = "Streaming", "good", "pass", ""
	case "waiting":
		v.Word, v.Class, v.Mark, v.Why = "Waiting for a picture", "good", "wait", ""
	case "connecting":
		v.Word, v.Class, v.Mark = "Connecting", "idle", "wait"
	case "ended":
		v.Word, v.Class, v.Mark = "Over", "idle", "end"
	case "silent":
		v.Word, v.Class, v.Mark, v.Why = "Silent", "bad", "bad", "it is connected, but nothing comes"
	case "refused":
		v.Word, v.Class, v.Mark = "Refused", "bad", "bad"
	default:
		v.Word, v.Class, v.Mark = "Lost", "bad", "bad"
	}
	for _, p := range v.Proofs {
		v.Why = strings.TrimPrefix(v.Why+"; "+p.Title, "; ")
		if v.Class == "good" {
			v.Word, v.Class, v.Mark = "Look at it", "warn", "warn"
		}
		if p.Effect == "none" {
			v.Word, v.Class, v.Mark = "Not to be trusted", "bad", "bad"
		}
	}
	if v.State != "streaming" {
		v.Picture = "" // asking for one would only wait
	}
}

func (s *Server) camerasPage(w http.ResponseWriter, _ *http.Request) {
	n := s.now()
	data := struct {
		head
		Cameras []cameraView
		Need    []needView
	}{head: newHead("Cameras · Sightline", "cameras", n.Stations), Need: needsOfCameras(&n, "")}
	for i := range n.Cameras {
		data.Cameras = append(data.Cameras, viewCamera(&n.Cameras[i]))
	}
	s.render(w, http.StatusOK, "cameras", data)
}

func (s *Server) cameraPage(w http.ResponseWriter, r *http.Request) {
	n := s.now()
	c := n.camera(r.PathValue("camera"))
	if c == nil {
		s.message(w, http.StatusNotFound, "There is no such camera", "This device has no camera "+strconv.Quote(r.PathValue("camera"))+".")
		return
	}
	s.render(w, http.StatusOK, "camera", struct {
		head
		Camera cameraView
		Need   []needView
	}{newHead(c.ID+" · Sightline", "cameras", n.Stations), viewCamera(c), needsOfCameras(&n, c.ID)})
}

// needsOfCameras are the warnings about one camera, about all for "".
func needsOfCameras(n *Now, id string) []needView {
	var list []needView
	for _, w := range n.Health {
		if !strings.HasPrefix(w.Code, "camera_") || id != "" && w.Subject != id {
			continue
		}
		list = append(list, viewWarning(w, id))
	}
	if len(list) == 0 {
		list = []needView{{Class: "ok", Mark: "pass", Key: "ok", Text: "Nothing needs you", Do: "Every camera delivers pictures that can be trusted, as far as this device can tell."}}
		if i := slices.IndexFunc(n.Cameras, func(c Camera) bool { return id == "" || c.ID == id }); i < 0 {
			list = nil
		}
	}
	return list
}

// cameraForm is what the page's buttons ask for.
func (s *Server) cameraForm(w http.ResponseWriter, r *http.Request) {
	in := &cameraInput{Camera: r.PathValue("camera")}
	var err error
	switch r.PathValue("act") {
	case "trigger":
		_, err = in.answer(s.source.Fire(in.Camera))
	case "reference":
		_, err = s.refer(r.Context(), in)
	default:
		s.message(w, http.StatusNotFound, "There is no such page", "Nothing is at "+r.URL.Path+".")
		return
	}
	if err != nil {
		s.message(w, statusOf(err), "Nothing was done", web.Sentence(err.Error())+".")
		return
	}
	http.Redirect(w, r, "/cameras/"+url.PathEscape(in.Camera), http.StatusSeeOther)
}
