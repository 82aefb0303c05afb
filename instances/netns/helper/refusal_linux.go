package helper

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Refusal adds to the error of a Start why the kernel refused and what would mend it.
func Refusal(err error) error { return refusal(err, readSysctl) }

func readSysctl(name string) string {
	text, err := os.ReadFile("/proc/sys/" + strings.ReplaceAll(name, ".", "/"))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// lack is a setting that keeps people from having user namespaces.
type lack struct{ sysctl, value, what, fix string }

var lacks = []lack{
	{"user.max_user_namespaces", "0", "user namespaces are switched off (user.max_user_namespaces is 0)", "sudo sysctl user.max_user_namespaces=15000"},
	{"kernel.unprivileged_userns_clone", "0", "user namespaces are for root only (kernel.unprivileged_userns_clone is 0)", "sudo sysctl kernel.unprivileged_userns_clone=1"},
	{"kernel.apparmor_restrict_unprivileged_userns", "1", "AppArmor restricts user namespaces (kernel.apparmor_restrict_unprivileged_userns is 1)",
		"sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0, or give this program an AppArmor profile that allows userns"},
}

func refusal(err error, sysctl func(string) string) error {
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES), errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EUSERS):
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSYS):
		return fmt.Errorf("this kernel has no user namespaces: %w", err)
	default:
		return err
	}
	for _, l := range lacks {
		if sysctl(l.sysctl) == l.value {
			return fmt.Errorf("%s: %w; fix: %s", l.what, err, l.fix)
		}
	}
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EUSERS) {
		return fmt.Errorf("no more user namespaces can be made (user.max_user_namespaces is %s): %w; fix: sudo sysctl user.max_user_namespaces=15000",
			sysctl("user.max_user_namespaces"), err)
	}
	return fmt.Errorf("a user namespace of one's own is refused: %w; a container's seccomp profile or another security module may do so", err)
}
