package main

import (
	"os"
	"path/filepath"
	"testing"
)

// TestIsProcess tells processes apart as /proc shows them, with either cgroup driver and in either version of cgroups.
func TestIsProcess(t *testing.T) {
	const pod = "85530174-1e82-4725-8d52-840534b69ea2"
	cgroupfs := "11:memory:/kubepods/burstable/pod85530174-1e82-4725-8d52-840534b69ea2/0a1b\n"
	systemd := "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod85530174_1e82_4725_8d52_840534b69ea2.slice/cri-0a1b.scope\n"
	for name, test := range map[string]struct {
		commandLine, cgroup string
		name, pod           string
		want                bool
	}{
		"cgroupfs":          {"/keyturn\x00--log-level=info\x00", cgroupfs, "keyturn", pod, true},
		"systemd":           {"/keyturn\x00", systemd, "keyturn", pod, true},
		"of any pod":        {"kube-apiserver\x00--v=2\x00", "0::/system.slice\n", "kube-apiserver", "", true},
		"another pod":       {"/keyturn\x00", cgroupfs, "keyturn", "95530174-1e82-4725-8d52-840534b69ea2", false},
		"another program":   {"/pause\x00", cgroupfs, "keyturn", pod, false},
		"named in a flag":   {"/bin/sh\x00keyturn\x00", cgroupfs, "keyturn", pod, false},
		"a kernel's thread": {"", "0::/\n", "", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			for file, content := range map[string]string{"cmdline": test.commandLine, "cgroup": test.cgroup} {
				if err := os.WriteFile(filepath.Join(folder, file), []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if got := isProcess(folder, test.name, test.pod); got != test.want {
				t.Errorf("%t, want %t", got, test.want)
			}
		})
	}
	if isProcess(filepath.Join(t.TempDir(), "ended"), "keyturn", "") {
		t.Error("a process that has ended is found")
	}
}
