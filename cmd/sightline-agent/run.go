package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/sightline-edge/sightline/agent"
	"github.com/sightline-edge/sightline/agent/config"
	"github.com/sightline-edge/sightline/board"
	"github.com/sightline-edge/sightline/cmd/internal/cli"
	"github.com/sightline-edge/sightline/internal/web"
	"github.com/sightline-edge/sightline/sync/journal"
	"github.com/sightline-edge/sightline/vision/track"
)

func newRun() *cobra.Command {
	var file, data, listen string
	var verbose bool
	cmd := &cobra.Command{
		Use:   "run --config F",
		Short: "run the stations of a configuration for good",
		Long: `run inspects with every station of the configuration and answers on its page and
REST interface until SIGTERM or Ctrl-C. A camera that is away is tried again for
ever. Parts still in view when it ends get NONE (stopped).`,
		Example: `  sightline-agent run --config station.yaml
  sightline-agent run --config station.yaml --data /var/lib/sightline --listen 127.0.0.1:8081`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := load(file)
			if err != nil {
				return err
			}
			if data != "" {
				cfg.Data = data
			}
			if listen != "" {
				cfg.Listen = listen
			}
			return runStations(cmd, cfg, verbose)
		},
	}
	f := cmd.Flags()
	f.StringVar(&file, "config", "", "configuration file (docs/config.md)")
	f.StringVar(&data, "data", "", "data directory; overrides the configuration")
	f.StringVar(&listen, "listen", "", "address of page and REST interface; overrides the configuration")
	f.BoolVarP(&verbose, "verbose", "v", false, "log what workers and cameras do")
	return cmd
}

func newCheck() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "check --config F",
		Short: "say every mistake of a configuration at once",
		Long: `check reads the configuration, its models and rules, and says every mistake with
file and line, what was found and what would do. It starts nothing.`,
		Example: `  sightline-agent check --config station.yaml`,
		Args:    cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := load(file)
			var faults config.Faults
			if cfg == nil || err != nil && !errors.As(err, &faults) {
				return err
			}
			for _, w := range cfg.Warnings {
				fmt.Fprintf(cmd.ErrOrStderr(), "%v\n", w)
			}
			for i := range cfg.Stations {
				if k, err := recallModel(modelsDir(cfg), &cfg.Stations[i]); err == nil && k.Model != "" {
					fmt.Fprintf(cmd.ErrOrStderr(), "station %s begins with %s, which was swapped in (sightline-agent swap), not with %s, which is checked here\n", cfg.Stations[i].ID, k.Model, k.Instead)
				}
			}
			if err := checkStations(cmd.Context(), cmd, cfg, faults); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: good, %d stations\n", file, len(cfg.Stations))
			return err
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "configuration file (docs/config.md)")
	return cmd
}

func load(file string) (*config.Config, error) {
	if err := cli.Required("config", file, "station.yaml"); err != nil {
		return nil, err
	}
	return config.Load(file)
}

// checkStations makes each station as run would, and tells all that fails
// besides the faults that the file itself has.
func checkStations(ctx context.Context, cmd *cobra.Command, cfg *config.Config, faults config.Faults) error {
	programs, missing := findPrograms(cfg.Infer)
	made, err := newAssembly(ctx, programs, logger(cmd.ErrOrStderr(), false))
	if err != nil {
		return errors.Join(faults, missing, err)
	}
	defer made.close(context.WithoutCancel(ctx))
	for i := range cfg.Stations {
		var more config.Faults
		st, book, err := made.configured(ctx, cfg, i)
		if err == nil {
			err = made.checkRest(ctx, cmd.ErrOrStderr(), cfg, i, &st, book)
		}
		if errors.As(err, &more) {
			faults = append(faults, slices.DeleteFunc(more, faults.Cover)...)
		}
	}
	faults = append(faults, checkDoors(cfg, made.log)...)
	slices.SortStableFunc(faults, func(a, b config.Fault) int { return cmp.Compare(a.Line, b.Line) })
	if len(faults) == 0 {
		return missing
	}
	return errors.Join(faults, missing)
}

// configured makes the station i of a configuration. One that follows a bundle
// has no model yet: see plant.
func (a *assembly) configured(ctx context.Context, cfg *config.Config, i int) (agent.StationConfig, *cookbook, error) {
	book := (*cookbook)(nil)
	s := &cfg.Stations[i]
	o := stationOptions{
		id: s.ID, line: s.Line, pictures: true, gate: s.ChangeGate, deadline: s.Deadline, allow: s.Unrecorded == config.Allow, threads: cfg.Infer.Threads,
		conf: float32(s.Confidence), limit: runLimit(s),
	}
	var err error
	if o.cameras, o.mode, err = a.stationCameras(cfg, i); err != nil {
		return agent.StationConfig{}, nil, err
	}
	if s.Mode == config.OnTrigger {
		o.mode = track.Pictures
	}
	as := *s
	var recipe *config.Recipe
	if book = a.newCookbook(cfg, i, o.mode); book != nil {
		recipe = book.recipe(book.chosen())
		as = s.As(recipe)
		o.conf = float32(as.Confidence)
	}
	st, err := a.equipped(ctx, o, &as)
	if err == nil {
		err = errors.Join(schedule(&st, s), follows(&st.Track, as.Decide, as.Combine))
	}
	if err != nil && book != nil && slices.Contains(recipeSettings, settingOf(err)) {
		err = inRecipe(book.index(recipe.Name), err)
	}
	if err != nil {
		return st, nil, fault(cfg, i, "camera", err)
	}
	if book != nil {
		book.offer(&st, recipe)
	}
	return st, book, nil
}

// equipped makes a station with the model that its configuration names, or one that
// follows a bundle.
func (a *assembly) equipped(ctx context.Context, o stationOptions, s *config.Station) (agent.StationConfig, error) {
	var c *choice
	var err error
	if s.Model != "" {
		if c, err = chooseConfigured(s); err != nil {
			return agent.StationConfig{}, otherwise("model", err)
		}
	}
	if s.Bundle != "" {
		st, err := a.following(ctx, o, s.Bundle, c)
		if err == nil {
			err = a.foresee(s, c)
		}
		return st, err
	}
	st, err := a.station(ctx, o, c)
	if err == nil {
		st.Small, st.SmallAbout, err = a.small(s, c, o.threads, o.limit)
	}
	if err == nil {
		st.Cascade, err = a.cascade(s, c, o.threads, o.limit)
	}
	return st, err
}

// chooseConfigured reads what a station's configuration names as its model.
func chooseConfigured(s *config.Station) (*choice, error) {
	if unsigned(s.Model) && !s.Unsigned {
		return nil, errors.New(config.Unsigned(s.Model))
	}
	c, err := choose(modelOptions{model: s.Model, family: s.Family, roles: s.Labels, rule: s.Rule})
	if err != nil {
		return nil, err
	}
	if b := band(&s.Cascade); b != nil {
		c.least = b.Low
	}
	c.cameras = s.Alike
	return c, nil
}

func runStations(cmd *cobra.Command, cfg *config.Config, verbose bool) error {
	collectLater()
	ctx := cmd.Context()
	log := logger(cmd.ErrOrStderr(), verbose)
	for _, w := range cfg.Warnings {
		log.Warn("configuration", "warning", w.Error())
	}
	programs, err := findPrograms(cfg.Infer)
	if err != nil {
		return err
	}
	programs.hasten(log)
	programs.builds = newBuilds(cmd.ErrOrStderr())
	programs.builds.announce = true
	made, err := newAssembly(ctx, programs, log)
	if err != nil {
		return err
	}
	defer made.close(context.WithoutCancel(ctx))
	made.atOnce = true
	made.broken = make(chan brokenRule, len(cfg.Stations))
	named := recallModels(cfg, log)
	models := newSwaps(made, cfg)
	var stations []agent.StationConfig
	books := make([]*cookbook, len(cfg.Stations))
	for i := range cfg.Stations {
		s, book, err := made.begin(ctx, cfg, i, named[cfg.Stations[i].ID])
		if err != nil {
			return err
		}
		if _, err := made.bindable(cfg, &cfg.Stations[i]); err != nil {
			return fault(cfg, i, "camera", err)
		}
		if err := exposable(cfg, &cfg.Stations[i]); err != nil {
			return fault(cfg, i, "recipes", err)
		}
		models.add(&cfg.Stations[i], &s, named[s.ID])
		stations, books[i] = append(stations, s), book
	}
	j, opened, err := journal.Open(cfg.Data)
	if err != nil {
		return err
	}
	defer j.Close()
	if opened.Quarantined != "" {
		log.Error("journal was damaged and put aside", "file", opened.Quarantined, "err", opened.Reason)
	}
	j.Retain(int64(cfg.Journal.LimitMB) * 1e6)
	bundles := newUpdates(cfg, newPlant(made, cfg.Infer.Threads), log)
	bundles.heavy = models.heavy
	link := &fleetLink{data: cfg.Data, journal: j, report: cfg.Fleet.Report, updates: bundles, log: log}
	a := agent.New(agentConfig(cfg, bundles, models.hooks(agent.Config{
		Journal: j, Opened: opened, Models: made.hired(), Log: log, Version: version, Stay: true, Bystanders: programs.bystanders, Turns: turns(cfg.Infer, programs.provider.Accelerated(programs.runtime)), Open: !web.Loopback(cfg.Listen),
		Board: board.New(board.Config{Root: os.DirFS("/"), Disk: cfg.Data, NVML: true}), Fleet: link.now,
		Golden: (&recorder{made: made, threads: cfg.Infer.Threads}).record,
	})))
	for i, s := range stations {
		a.Add(s)
		bundles.plant.add(&cfg.Stations[i], s.Track.Mode, books[i])
		if book := books[i]; book != nil {
			book.agent, book.plant = a, bundles.plant
		}
	}
	doors, err := newDoors(cfg, a, log)
	if err != nil {
		return err
	}
	bundles.plant.agent, models.agent = a, a
	if err := bundles.open(); err != nil {
		return err
	}
	say := func(format string, args ...any) { fmt.Fprintf(cmd.OutOrStdout(), format+"\n", args...) }
	others := []func(context.Context) error{bundles.run, models.run, func(ctx context.Context) error { return link.run(ctx, a) }, made.rulesOf(cfg), newSampler(made, cfg, stations, a, bundles).run}
	for _, book := range books {
		if book != nil {
			others = append(others, book.warm)
		}
	}
	return serving(ctx, cfg.Listen, a, log, say, append(others, doors...)...)
}

// rulesOf ends the run when a rule can't be loaded.
func (a *assembly) rulesOf(cfg *config.Config) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case b := <-a.broken:
			i := slices.IndexFunc(cfg.Stations, func(s config.Station) bool { return s.ID == b.station })
			return fault(cfg, i, "rule", b.err)
		case <-ctx.Done():
			return nil
		}
	}
}

// agentConfig adds how bundles come to the stations, where one follows any.
func agentConfig(cfg *config.Config, u *updates, c agent.Config) agent.Config {
	if slices.ContainsFunc(cfg.Stations, func(s config.Station) bool { return s.Follows() }) {
		c.Updates, c.Approve, c.Install, c.RefusedPicture = u.status, u.approve, u.install, u.picture
	}
	return c
}

// fault places what is wrong with the station i at its lines of the file. Key
// is the setting of errors that don't say theirs.
func fault(cfg *config.Config, i int, key string, err error) config.Faults {
	var all config.Faults
	if several, ok := err.(interface{ Unwrap() []error }); ok {
		for _, err := range several.Unwrap() {
			all = append(all, fault(cfg, i, key, err)...)
		}
		return all
	}
	var known aboutSetting
	if errors.As(err, &known) {
		key = known.key
	}
	return append(all, cfg.Fault(fmt.Sprintf("stations[%d].%s", i, key), err.Error()))
}
