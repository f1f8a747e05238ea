package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/sightline-edge/sightline/agent"
	"github.com/sightline-edge/sightline/agent/api"
	"github.com/sightline-edge/sightline/agent/config"
	"github.com/sightline-edge/sightline/agent/oip"
	"github.com/sightline-edge/sightline/cmd/internal/cli"
	"github.com/sightline-edge/sightline/internal/web"
	"github.com/sightline-edge/sightline/vision/infer"
	"github.com/sightline-edge/sightline/vision/models"
	"github.com/sightline-edge/sightline/vision/sched"
)

// serveLimit is how long a run of serve may take, which is as long as a request waits.
const serveLimit = 20 * time.Second

// serveOptions are the flags of serve.
type serveOptions struct {
	models   []string
	addr     string
	hosts    []string // names by which it may be asked, in lower case
	provider string
	runtime  string
	threads  int
	verbose  bool
}

func newServe() *cobra.Command {
	var o serveOptions
	cmd := &cobra.Command{
		Use:   "serve --model M",
		Short: "serve models to programs over the Open Inference Protocol, without cameras",
		Long: `serve answers requests of the Open Inference Protocol, version 2 over HTTP, as
Triton's and KServe's clients send them (docs/oip.md). It takes any ONNX model,
whatever it is for: tensors go in and come out as they are. A model is called by
its file's name without the ending, by its bundle's name, or as it is shipped.

Each model has a process of its own; one that crashes is started again. The
parameter priority puts a request before others (1) or behind them (2 and more);
timeout, in µs, is by when its answer is wanted: a run past it is stopped.

It answers on this machine alone unless --addr says otherwise. There is no login:
whoever reaches the address may use the models. By a name of your network it is
asked once --host says so: pages elsewhere could make names of their own point here.`,
		Example: `  sightline-agent serve --model resnet18.onnx
  curl http://127.0.0.1:8000/v2/models/resnet18

  # two models, for the network, one thread each
  sightline-agent serve --model a.onnx --model bundles/b/ --addr 0.0.0.0:8000 --threads 1

  # by the names that clients in the network know it by
  sightline-agent serve --model b.onnx --addr 0.0.0.0:8000 --host models.example --host models

  # Python, with: pip install tritonclient[http]
  python -c 'import tritonclient.http as t; print(t.InferenceServerClient("127.0.0.1:8000").get_model_metadata("resnet18"))'`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	f := cmd.Flags()
	f.StringArrayVar(&o.models, "model", nil, "ONNX file, bundle folder, or the name of a shipped model ("+strings.Join(models.Names(), ", ")+"); may be given several times")
	f.StringVar(&o.addr, "addr", "127.0.0.1:8000", "address to answer at; port 0 chooses a free one")
	f.StringArrayVar(&o.hosts, "host", nil, "name by which it may be asked, besides its addresses, localhost and this machine's name; may be given several times")
	f.StringVar(&o.provider, "provider", "", "what computes: auto, cpu, cuda or tensorrt; default "+infer.ProviderEnv+", else auto")
	f.StringVar(&o.runtime, "onnxruntime", "", "ONNX Runtime's library; default as docs/config.md says")
	f.IntVar(&o.threads, "threads", 0, "processor threads of each model; 0: the cores shared out among the models")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "log what workers do")
	return cmd
}

func (o *serveOptions) check() error {
	if len(o.models) == 0 {
		return cli.Required("model", "", "resnet18.onnx")
	}
	if o.threads < 0 || o.threads > 64 {
		return cli.Usage("--threads %d: 0 to 64 are possible", o.threads)
	}
	if _, _, err := net.SplitHostPort(o.addr); err != nil {
		return cli.Usage("--addr %s: an address with a port is wanted, as 127.0.0.1:8000", o.addr)
	}
	if _, err := infer.ParseProvider(o.provider); err != nil {
		return cli.Usage("--%v", err)
	}
	for i, host := range o.hosts {
		o.hosts[i] = strings.ToLower(strings.TrimSuffix(host, "."))
		if strings.ContainsFunc(host, func(r rune) bool { return strings.ContainsRune(":/", r) || unicode.IsSpace(r) || !unicode.IsPrint(r) }) || o.hosts[i] == "" {
			return cli.Usage("--host %q: a name without port and path is wanted, as models.example", host)
		}
	}
	return nil
}

func (o *serveOptions) run(cmd *cobra.Command) error {
	if err := o.check(); err != nil {
		return err
	}
	if o.threads == 0 {
		o.threads = max(1, runtime.NumCPU()/len(o.models))
	}
	section := config.Infer{Provider: o.provider, ONNXRuntime: o.runtime, Threads: o.threads}
	p, err := findPrograms(section)
	if err != nil {
		return err
	}
	log := logger(cmd.ErrOrStderr(), o.verbose)
	p.hasten(log)
	p.builds = newBuilds(cmd.ErrOrStderr())
	p.builds.announce = true
	list, err := o.load(p, section, log)
	if err != nil {
		return err
	}
	l, err := listen(o.addr, " with --addr")
	if err != nil {
		return err
	}
	if !web.Loopback(l.Addr().String()) {
		fmt.Fprintf(cmd.ErrOrStderr(), "whoever reaches %s in the network may use the models: there is no login\n", l.Addr())
	}
	host, _ := os.Hostname() // "" is a name that nobody asks for
	return serveModels(cmd.Context(), list, l, append(o.hosts, strings.ToLower(host)), cmd.OutOrStdout(), log)
}

// load reads the models and makes a worker for each.
func (o *serveOptions) load(p programs, section config.Infer, log *slog.Logger) ([]oip.Model, error) {
	scheduler := sched.New(sched.Config{Slots: turns(section, p.provider.Accelerated(p.runtime))})
	from := map[string]string{} // names, with what was given for them
	var list []oip.Model
	var faults []error
	for _, given := range o.models {
		c, err := chooseTensors(given)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		if other, ok := from[c.about.Name]; ok {
			faults = append(faults, fmt.Errorf("model %s: it is called %s, as %s is: rename one of them", given, c.about.Name, other))
			continue
		}
		from[c.about.Name] = given
		worker := p.worker(c, infer.Spec{}, o.threads, log)
		worker.Tensors, worker.Limit = true, serveLimit
		m := oip.Model{
			Name: c.about.Name, Version: oip.VersionOf(c.about.Version), Cost: scheduler.Model(c.about.Name), Streams: map[sched.Class]*sched.Stream{},
			Worker: infer.New(worker),
		}
		for _, class := range []sched.Class{sched.Critical, sched.Normal, sched.BestEffort} {
			m.Streams[class] = scheduler.Join(sched.StreamConfig{Name: m.Name, Class: class, Width: 2})
		}
		list = append(list, m)
	}
	return list, errors.Join(faults...)
}

// chooseTensors reads a model that is to run on tensors alone.
func chooseTensors(given string) (*choice, error) {
	c := &choice{path: given}
	dir, err := openBundle(given)
	if err != nil {
		return nil, err
	}
	if dir != nil {
		_, err = c.fromBundle(dir)
	} else {
		err = c.fromFile(given)
	}
	if err == nil {
		_, err = infer.DescribeTensors(c.data)
	}
	if err != nil {
		return nil, fmt.Errorf("model %s: %w", given, err)
	}
	return c, nil
}

// serveModels answers on l, to who asks for one of hosts, until ctx ends or a model
// can't run.
func serveModels(ctx context.Context, list []oip.Model, l net.Listener, hosts []string, out io.Writer, log *slog.Logger) error {
	h := oip.NewHandler(oip.Config{Models: func() []oip.Model { return list }, Version: version, Limits: oip.Limits{Wait: serveLimit}})
	mux := http.NewServeMux()
	mux.Handle("/v2", h)
	mux.Handle("/v2/", h)
	mux.Handle("GET /metrics", api.GuestMetrics(func() []api.Guest { return agent.GuestsOf(h) }))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		web.Problem(w, http.StatusNotFound, "there is nothing at "+r.URL.Path+": the models are under /v2, metrics under /metrics")
	})
	own := http.NewCrossOriginProtection()
	own.SetDenyHandler(http.HandlerFunc(web.DenyForeign))
	served := web.KeepBody(web.GuardNamed(web.Survive(own.Handler(mux), log), "use its address in numbers, or start it with --host and that name", hosts...))
	g, ctx := errgroup.WithContext(ctx)
	for _, m := range list {
		g.Go(func() error { return m.Worker.Run(ctx) })
	}
	g.Go(func() error { return web.Serve(ctx, l, served, log) })
	g.Go(func() error {
		for _, m := range list {
			info, err := m.Worker.Ready(ctx)
			if err != nil {
				return nil // Run tells why, or the context has ended
			}
			if _, err := io.WriteString(out, describeServed(m, info)); err != nil {
				return err
			}
		}
		_, err := fmt.Fprintf(out, "answering at http://%s/v2\n", l.Addr())
		return err
	})
	return g.Wait()
}

// describeServed says what a model takes and gives.
func describeServed(m oip.Model, i infer.Info) string {
	text := fmt.Sprintf("%s, version %s, on %s\n", m.Name, m.Version, i.Provider)
	for _, part := range []struct {
		what string
		list []infer.Tensor
	}{{"takes", i.Inputs}, {"gives", i.Outputs}} {
		for _, t := range part.list {
			text += fmt.Sprintf("  %s %v\n", part.what, t)
		}
	}
	return printableLines(text)
}

// printableLines has no control characters but the ends of its lines.
func printableLines(text string) string {
	var lines []string
	for line := range strings.SplitSeq(text, "\n") {
		lines = append(lines, printable(line))
	}
	return strings.Join(lines, "\n")
}
