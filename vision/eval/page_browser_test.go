package eval

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// TestPageInABrowser opens the page as people do, wide and narrow, light and dark:
// it fits without scrolling sideways, and every picture shows. SIGHTLINE_SCREENSHOTS
// is a folder that keeps what was seen.
func TestPageInABrowser(t *testing.T) {
	ctx := browserFor(t)
	r := drawnRun(t, 60, everyThird)
	r.Notes = append(r.Notes, "2 of the model's 3 labels have no category of that name, and aren't measured")
	r.Slices[0].Rows[0].Name = strings.Repeat("long", 40)
	file := filepath.Join(t.TempDir(), "report.html")
	if err := os.WriteFile(file, []byte(written(t, r)), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, v := range []struct {
		name   string
		width  int64
		scheme string
	}{{"report-light", 1280, "light"}, {"report-dark", 1280, "dark"}, {"report-phone", 390, "light"}, {"report-phone-dark", 390, "dark"}, {"report-wide", 2560, "light"}, {"report-wide-dark", 2560, "dark"}} {
		if _, err := chromedp.Call(ctx, emulation.SetDeviceMetricsOverride,
			emulation.SetDeviceMetricsOverrideParams{Width: v.width, Height: 5200, DeviceScaleFactor: 1, Mobile: v.width < 500}); err != nil {
			t.Fatal(err)
		}
		if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia,
			emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: v.scheme}}}); err != nil {
			t.Fatal(err)
		}
		if err := chromedp.Do(ctx, chromedp.Navigate("file://"+file)); err != nil {
			t.Fatal(err)
		}
		for what, js := range map[string]string{
			"fits without scrolling sideways": `document.documentElement.scrollWidth <= innerWidth`,
			"shows every picture":             `document.images.length > 0 && [...document.images].every((i) => i.complete && i.naturalWidth > 0)`,
			"draws the thresholds' lines":     `[...document.querySelectorAll(".at")].length === 2 && [...document.querySelectorAll(".at")].every((l) => l.offsetHeight > 200)`,
		} {
			if err := becomes(ctx, js); err != nil {
				t.Errorf("%s: it is untrue that the page %s (%v)", v.name, what, err)
			}
		}
		shoot(t, ctx, v.name)
	}
}

// becomes waits until an expression of JavaScript is true: pictures are decoded
// after the page is there.
func becomes(ctx context.Context, js string) error {
	for since := time.Now(); ; <-time.After(20 * time.Millisecond) {
		ok, err := chromedp.Run(ctx, chromedp.Evaluate[bool](js))
		switch {
		case err != nil || ok:
			return err
		case time.Since(since) > 10*time.Second:
			return errors.New("waited 10 s")
		}
	}
}

// browserFor starts Chromium, or skips the test and says so.
func browserFor(t *testing.T) context.Context {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		t.Cleanup(cancel)
		ctx, cancel = chromedp.NewExecAllocator(ctx, append(chromedp.DefaultExecAllocatorOptions[:],
			chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.Flag("disable-dev-shm-usage", true))...)
		t.Cleanup(cancel)
		ctx, cancel = chromedp.NewContext(ctx)
		t.Cleanup(cancel)
		return ctx
	}
	t.Skip("left out: the report in a browser; install chromium to have it tested")
	return nil
}

func shoot(t *testing.T, ctx context.Context, name string) {
	t.Helper()
	dir := os.Getenv("SIGHTLINE_SCREENSHOTS")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}
