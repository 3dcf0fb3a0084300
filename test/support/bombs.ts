/** Programs that start as many tasks as they can, as bash scripts with nothing but what the image holds. */
export const BOMBS: Record<string, string> = {
  shell: "f() { f | f & }; f; wait; sleep 60",
  "fork loop": "exec perl -e 'fork while 1'",
  thread: `exec python3 -c '
import _thread, time
while True:
    try: _thread.start_new_thread(time.sleep, (1000,))
    except Exception: time.sleep(0.01)'`,
  "setsid double fork": `exec perl -MPOSIX -e '$SIG{CHLD} = "IGNORE";
while (1) { my $child = fork; if (defined $child && !$child) { POSIX::setsid(); fork } }'`,
  "fork and exec": `printf '#!/bin/bash\\nwhile :; do "$0" & done\\n' > ~/again; chmod 755 ~/again; exec ~/again`,
};

/** Tries each way past the limit \`rounds\` times, starting what it can each time; writes how often into ~/escaped. */
export const ESCAPES = `
cat > ~/many <<'PERL'
my @children;
while (@children < 200) { my $child = fork; last unless defined $child; $child or exec "sleep", "60"; push @children, $child }
kill 9, @children; waitpid $_, 0 for @children;
PERL
cat > ~/attach <<'PERL'
my ($pid) = @ARGV; my $seize = 0x4206; syscall(101, $seize, $pid + 0, 0, 0); syscall(101, 16, $pid + 0, 0, 0);
PERL
bridge=$(pgrep -f 'argus.js bridge' | tail -n 1)
count=0
for round in $(seq "$ROUNDS"); do
  for way in 1 2 3 4 5 6 7 8 9 10; do
    count=$((count + 1))
    case $way in
      1) (ulimit -u unlimited; perl ~/many) ;;
      2) (ulimit -Su 2000; ulimit -Hu 2000; perl ~/many) ;;
      3) (prlimit --pid $BASHPID --nproc=unlimited:unlimited; perl ~/many) ;;
      4) (prlimit --pid "$bridge" --nproc=2000:2000; prlimit --pid 1 --nproc=2000:2000; perl ~/many) ;;
      5) unshare --user --map-root-user bash -c 'ulimit -u unlimited; perl ~/many' ;;
      6) unshare --user --map-root-user --pid --fork bash -c 'ulimit -u 2000; perl ~/many' ;;
      7) su -c 'perl ~/many' </dev/null; mount -t tmpfs none /tmp; newgrp </dev/null; passwd -S ;;
      8) perl ~/attach "$bridge"; perl ~/attach 1; perl ~/many ;;
      9) setsid -f bash -c 'setsid -f perl ~/many' ;;
      10) setpriv --reuid=0 --clear-groups perl ~/many; echo 2000 > /proc/self/limits; perl ~/many ;;
    esac >>~/escape.log 2>&1 </dev/null
  done
done
echo "$count" > ~/escaped
`;
