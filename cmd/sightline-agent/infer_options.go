package main

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sightline-edge/sightline/agent/config"
	"github.com/sightline-edge/sightline/cmd/internal/cli"
)

// inferOptions are the flags that say what a command's model runs on.
type inferOptions struct {
	config  string // file whose section infer is used; "" for none
	threads int    // 0: the configuration's, 1
}

func (o *inferOptions) flags(f *pflag.FlagSet) {
	o.fileFlag(f, "ONNX Runtime, provider, memory, threads")
	f.IntVar(&o.threads, "threads", 0, "processor threads of the model; 0: the configuration's, 1")
}

// fileFlag is for a command that chooses some of them itself; what is used of the file.
func (o *inferOptions) fileFlag(f *pflag.FlagSet, what string) {
	f.StringVar(&o.config, "config", "", "configuration whose section infer is used: "+what)
}

func (o *inferOptions) check() error {
	if o.threads < 0 || o.threads > 64 {
		return cli.Usage("--threads %d: 1 to 64 are possible", o.threads)
	}
	return nil
}

// settings are the configuration's section, with the threads that are to be.
func (o *inferOptions) settings() (s config.Infer, err error) {
	if o.config != "" {
		cfg, err := load(o.config)
		if err != nil {
			return s, err
		}
		s = cfg.Infer
	}
	if o.threads > 0 {
		s.Threads = o.threads
	}
	s.Threads = max(s.Threads, 1)
	return s, nil
}

// programs are what the model runs with, and its threads; the command tells of
// engines that are built.
func (o *inferOptions) programs(cmd *cobra.Command) (programs, int, error) {
	s, err := o.settings()
	if err != nil {
		return programs{}, 0, err
	}
	p, err := findPrograms(s)
	if err != nil {
		return p, 0, err
	}
	p.hasten(logger(cmd.ErrOrStderr(), false))
	p.builds = newBuilds(cmd.ErrOrStderr())
	return p, s.Threads, nil
}

// assembly is programs for a command that runs rules too.
func (o *inferOptions) assembly(cmd *cobra.Command) (*assembly, int, error) {
	p, threads, err := o.programs(cmd)
	if err != nil {
		return nil, 0, err
	}
	made, err := newAssembly(cmd.Context(), p, logger(cmd.ErrOrStderr(), false))
	return made, threads, err
}
