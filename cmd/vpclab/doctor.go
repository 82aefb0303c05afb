package main

import "github.com/spf13/cobra"

func (a *app) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "What this machine allows, and the fix for each lack",
		Long: `Say which drivers can run instances here, what is lacking for the others, and how
each lack is mended. What can be tried is tried: a user namespace, a TAP, an overlay
and a socket are made, apart from all else, and taken away again. Needs no agent and
no privilege; what root may do is seen only by root.

Exits with 0 if every driver works and nothing is lacking, else with 3.`,
		Args: cobra.NoArgs, GroupID: "see",
		RunE: func(*cobra.Command, []string) error {
			dir, err := a.dataDir()
			if err != nil {
				return err
			}
			r := a.here.Doctor(dir)
			if err := a.printer().Doctor(r); err != nil {
				return err
			}
			if r.Lacking > 0 {
				return exit(exitWarnings)
			}
			return nil
		},
	}
}
