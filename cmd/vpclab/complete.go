package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/vpclab/vpclab/api/agent"
)

// completeTimeout bounds how long a shell waits for names.
const completeTimeout = time.Second

// completeFiles completes the name of a lab file.
func completeFiles(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return []string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
}

// completeFlag completes a flag with the names of objects of some kinds.
func (a *app) completeFlag(kinds ...string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return a.names(cmd, kinds), cobra.ShellCompDirectiveNoFileComp
	}
}

// completeFirst completes the first argument with the names of objects of some kinds.
func (a *app) completeFirst(kinds ...string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return a.names(cmd, kinds), cobra.ShellCompDirectiveNoFileComp
	}
}

// completePair completes FROM and TO.
func (a *app) completePair(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	switch len(args) {
	case 0:
		return a.names(cmd, []string{"instance"}), cobra.ShellCompDirectiveNoFileComp
	case 1: // a port may follow
		return a.names(cmd, []string{"instance"}), cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// names asks the agent. One that does not answer has no names: a shell is no place for an error.
func (a *app) names(cmd *cobra.Command, kinds []string) []string {
	c, err := a.client()
	if err != nil {
		return nil
	}
	parent := cmd.Context()
	if parent == nil {
		parent = context.Background()
	}
	ctx, cancel := context.WithTimeout(parent, completeTimeout)
	defer cancel()
	list, err := c.Names(ctx, &agent.NamesRequest{Lab: a.lab, Kinds: kinds})
	if err != nil {
		return nil
	}
	var out []string
	labs := map[string]string{}
	several := map[string]bool{} // names that two labs have
	for _, n := range list {
		if lab, ok := labs[n.Name]; ok && lab != n.Lab {
			several[n.Name] = true
		}
		labs[n.Name] = n.Lab
	}
	for _, n := range list {
		word := n.Name
		if several[n.Name] && n.Lab != "" {
			word = n.Lab + "/" + n.Name
		}
		if word == "" {
			word = n.ID
		}
		if n.Detail != "" {
			word += "\t" + n.Detail
		}
		out = append(out, word)
	}
	return out
}
