/*
 * Test support: the command lines that are compared with the stock docker CLI, and what may differ in each.
 */

export interface DifferentialCase {
  readonly args: readonly string[];
  readonly ignores?: readonly ('stdout' | 'stderr' | 'requests')[];
  /** Only what this finds in stdout is compared. */
  readonly within?: RegExp;
}

const plain: readonly string[] = `
network ls
network list -q
network ls --no-trunc
network ls --filter driver=bridge --filter name=x --filter driver=host
network ls --format json
network ls --format {{.ID}}:{{.IPv4}}:{{.Internal}}:{{.CreatedAt}}:{{.Labels}}
network ls --format {{.Foo}}
network ls --format {{
network ls --format {{nofunc}}
network ls --foo
network ls -z
network ls x
network create
network create n
network create -d macvlan -o parent=eth0 --label a=b --label c --internal --attachable n
network create --subnet 10.0.0.0/24 --ip-range 10.0.0.128/25 --gateway 10.0.0.1 --aux-address r=10.0.0.9 n
network create --subnet 10.0.0.0/24 --subnet fd00::/64 --gateway fd00::1 --ipv6 --ipv4=false n
network create --subnet=10.0.0.0/24,10.1.0.0/24 n
network create --ip-range 10.0.0.0/24 n
network create --subnet 10.0.0.0/8 --subnet 10.1.0.0/16 n
network create --subnet 10.0.0.0/24 --gateway 10.1.0.1 n
network create --subnet 10.0.0.0/24 --subnet 10.1.0.0/24 --gateway 10.0.0.1 --gateway 10.0.0.2 n
network create --subnet 10.0.0.0/24 --subnet 10.1.0.0/24 --ip-range 10.0.0.0/25 --ip-range 10.0.0.0/26 n
network create --subnet 10.0.0.0/24 --aux-address a=10.9.0.1 n
network create --subnet bad --gateway 10.0.0.1 n
network create --config-from c --scope swarm --ipam-driver d --ipam-opt a=b n
network inspect mynet
network inspect nope
network inspect mynet nope
network inspect -f {{.Name}} mynet
network inspect -f {{json_.Labels}} mynet
network inspect -f {{.Nope}} mynet
network inspect -f {{.IPAM.Nope}} mynet
network inspect -f {{range_.IPAM.Config}}{{.Subnet}}{{end}} mynet
network inspect -f {{range_$k,$v:=.Containers}}{{$v.Name}}={{$v.IPv4Address}}{{end}} mynet
network inspect -f {{.Labels.zip}}/{{index_.Labels_"zip"}}/{{.Labels.a}} mynet
network inspect -v mynet
network rm nope mynet
network remove mynet
network rm -f nope
network rm ingress mynet
network rm -f ingress
network prune -f
network prune -f --filter until=24h
network connect mynet web
network connect --ip 172.18.0.9 --alias a --alias b,c --driver-opt x=y --gw-priority -3 --link l:m mynet web
network connect mynet
network disconnect -f mynet web
network foo
volume ls
volume list -q
volume ls --filter dangling=true --filter label=a
volume ls --format json
volume ls --format {{.Name}}:{{.Driver}}:{{.Scope}}:{{.Mountpoint}}:{{.Labels}}:{{.Size}}:{{.Links}}:{{.Status}}:{{.Label_"a"}}
volume ls --format table_{{.Name}}\t{{.Mountpoint}}\t{{.Labels}}\t{{.Links}}\t{{.Availability}}
volume ls --format {{.Foo}}
volume ls x
volume create
volume create data
volume create -d local -o type=tmpfs --opt device=tmpfs --label a=b --label c data
volume inspect data
volume inspect nope
volume inspect -f {{.Mountpoint}}/{{.Labels.a}}/{{.Options}} data
volume rm data nope
volume remove -f data
volume rm
volume prune -f
volume prune -af --filter label=x
volume prune -a -f --filter all=1
inspect data
inspect --type volume data
foo
run
run --name
run -d busybox
run -d --rm --name x busybox a -b --c
run busybox sh -c x
run --rm busybox
run -i busybox cat
run -it busybox
run --name missingcommand busybox nosuch
run --rm --restart always busybox
run -d -a stdout busybox
create busybox
create --pull nope busybox
create --network n1 --network n1 busybox
create --network n1 --network host busybox
create --network name=n1,alias=A,ip=1.2.3.4,gw-priority=3,driver-opt=a=b,mac-address=02:42:ac:11:00:02 --network n2 busybox
create --network name=n1,zip=1 busybox
create --network alias=x busybox
create --network name=n1,ip=1.2.3.4 --ip 1.2.3.5 busybox
create --net=host -h hh --domainname d busybox
create --network container:web busybox
create --network none busybox
create --network n1 --ip 1.2.3.4 --ip6 fd00::2 --network-alias z --net-alias y --link-local-ip 169.254.1.1 --mac-address 02:42:ac:11:00:03 busybox
create -p 80:81 -p 127.0.0.1:90-91:90-91/udp -p 7000-7005:70 -p [::1]:5:6 -p 99 -P --expose 7 --expose 20-22/udp busybox
create -p published=80,target=8080,protocol=udp busybox
create -p x busybox
create -p 1-3:1-2 busybox
create -p 80:99999 busybox
create --expose 1:2 busybox
create -v /a:/b:ro -v vol:/x -v /anon --tmpfs /t:size=1m --tmpfs /u busybox
create --mount type=bind,src=/q,dst=/w,ro --mount type=volume,src=v,dst=/v,volume-nocopy --mount type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=1777 busybox
create --mount type=volume,dst=/v,volume-driver=d,volume-opt=a=b,volume-opt=c,volume-label=k=v,volume-label=l busybox
create --mount type=volume,dst=/v,volume-subpath=s,volume-nocopy=0 busybox
create --mount src=v,dst=/v,readonly,volume-nocopy=maybe busybox
create --mount type=bind,src=/q,dst=/w,bind-propagation=rshared,bind-recursive=readonly,readonly busybox
create --mount type=bind,src=/q,dst=/w,bind-recursive=readonly busybox
create --mount type=bind,src=/q,dst=/w,bind-recursive=writable busybox
create --mount type=bind,src=/q,dst=/w,bind-recursive=zip busybox
create --mount type=bind,src=/q,dst=/w,bind-recursive=writable,ro busybox
create --mount type=bind,src=/q,dst=/w,bind-recursive=disabled,ro=0 busybox
create --mount type=bind,src=/q,dst=/w,bind-recursive=readonly,ro,bind-propagation=rprivate busybox
create --mount type=volume,dst=/w,image-subpath=a busybox
create --mount type=tmpfs,dst=/w,tmpfs-mode= busybox
create --mount type=bind,src=/q,dst=/w,bind-nonrecursive busybox
create --mount type=bind,src=/q,dst=/w,ro=maybe busybox
create --mount type=bind,src=/q,dst=/w,volume-nocopy busybox
create --mount type=volume,dst=/w,bind-propagation=rshared busybox
create --mount type=volume,dst=/w,tmpfs-size=1m busybox
create --mount type=tmpfs,dst=/w,tmpfs-mode=9 busybox
create --mount type=tmpfs,dst=/w,tmpfs-size=x busybox
create --mount type=tmpfs,src=x,dst=/w busybox
create --mount type=image,src=busybox,dst=/i,image-subpath=etc busybox
create --mount type=zip,src=a,dst=/i busybox
create --mount type=bind,src=./q,dst=/w,consistency=cached busybox
create --mount type=bind,dst=/a,_src=/b busybox
create --mount type=bind,src=/q,dst=/w,zip busybox
create --volume-driver d --volumes-from web:ro -v ./a:/b -v a:/b:ro,nocopy busybox
create --mount type=bind,src=/q busybox
create --mount type=bind,zip=1,dst=/a busybox
create --mount foo busybox
create -e A=b -e FOO -e NOTSET --env C= -l x=y -l z --label-file /nonexistent busybox
create -e A=b -e FOO -e NOTSET --env C= -l x=y -l z busybox
create -e =x busybox
create --env-file /nonexistent busybox
create -m 64m --memory-swap -1 --memory-reservation 1.5g --cpus 1.5 -c 512 --cpuset-cpus 0-1 --pids-limit 5 --oom-score-adj -5 --shm-size 64m busybox
create --ulimit nofile=10:20 --ulimit core=0 --device /dev/null --device /dev/a:/dev/b:r --group-add g --security-opt no-new-privileges busybox
create --ulimit nofile=20:10 busybox
create --ulimit nosuch=10 busybox
create --device a busybox
create --device /dev/null:/dev/x:q busybox
create --device /dev/null:rw --device /dev/null:/x --device-cgroup-rule 'c 1:3 r' busybox
create --device-cgroup-rule nonsense busybox
create --blkio-weight 300 --blkio-weight-device /dev/a:10 --device-read-bps /dev/a:1mb --device-write-bps /dev/a:2 --device-read-iops /dev/a:3 --device-write-iops /dev/b:4 busybox
create --blkio-weight-device /dev/a:5 busybox
create --blkio-weight-device a:50 busybox
create --device-read-bps /dev/a busybox
create --device-read-bps /dev/a:x busybox
create --device-read-iops /dev/a:1mb busybox
create --cgroup-parent /x --oom-kill-disable --memory-swappiness 0 --cpuset-mems 0 --cpu-period 5 --cpu-quota 6 --cpu-rt-period 7 --cpu-rt-runtime 8 busybox
create --cap-add net_admin --cap-add CAP_SYS_TIME --cap-drop all --privileged --read-only --init --user 1:2 -w /w busybox
create --dns 1.1.1.1 --dns-search x --dns-option ndots:1 --add-host a:1.2.3.4 --add-host b=fd00::1 --add-host c:host-gateway busybox
create --add-host bad busybox
create --add-host a:bad busybox
create --sysctl net.a=1 --annotation a=b --storage-opt size=1 --log-driver json-file --log-opt max-size=1m busybox
create --restart on-failure:3 --stop-signal HUP --stop-timeout 4 --entrypoint /e --cgroupns host --ipc host --pid host --uts host --userns host busybox
create --pid container: busybox
create --uts private busybox
create --userns keep-id busybox
create --cgroupns foo busybox
run --pid foo --uts foo busybox
create --pid container:web --ipc container:web busybox
create --entrypoint= busybox x
create --restart always:x busybox
create --health-cmd true --health-interval 3s --health-retries 2 --health-timeout 1m30s --health-start-period 1s busybox
create --no-healthcheck busybox
create --no-healthcheck --health-cmd x busybox
create --platform linux/amd64 --name n --runtime runc busybox
create -a foo busybox
create -itd busybox
create -m x busybox
create --cpus x busybox
create --ulimit x busybox
ps
ps -a
ps -aq
ps -l
ps -n 3
ps -n x
ps -s
ps --no-trunc
ps --filter name=a --filter status=exited --format {{.Names}}
ps --format json
ps --format {{.ID}}|{{.Image}}|{{.Command}}|{{.CreatedAt}}|{{.Ports}}|{{.State}}|{{.Status}}|{{.Labels}}|{{.Mounts}}|{{.LocalVolumes}}|{{.Networks}}
ps --format {{.Size}}
ps --format {{.Foo}}
ps --format {{upper_.Names}}-{{.Names|title}}-{{join_(split_.Names_"e")_"."}}-{{truncate_.ID_4}}-{{pad_.Names_1_2}}
ps --format {{if_eq_.Names_"web"}}W{{else_if_eq_.Names_"job"}}J{{end}}{{with_.Ports}}P{{end}}
ps --format {{printf_"%-10s|%q|%5s"_.Names_.State_.Names}}
ps --format {{len_.Names}}{{not_true}}{{and_1_0}}{{or_0_"x"}}
ps --format {{.Label_"x"}}
container ls -a
container list
inspect web
inspect nope
inspect web nope
inspect -s web
inspect -f {{.State.Running}} web
inspect -f {{.State.Nope}} web
inspect -f {{.Config.Env}} web
inspect -f {{json_.Config.Entrypoint}}{{.Config.Entrypoint}} web
inspect -f {{range_.NetworkSettings.Networks}}{{.IPAddress}}{{end}} web
inspect -f {{if_.State.Health}}h{{else}}none{{end}} web
inspect -f {{(index_(index_.NetworkSettings.Ports_"80/tcp")_0).HostPort}} web
inspect -f {{index_.Config.Env_5}} web
inspect -f {{index_.Config.Labels_"x"}}{{.HostConfig.Memory}} web
inspect -f {{.Name}} web web
inspect --type network mynet
inspect --type zip web
inspect --type image busybox
container inspect nope
container inspect -f {{println_.Name}} web
image inspect nope
start web
start nope
start web nope
stop web
stop -t 2 web nope
stop --timeout 2 -s HUP web
restart -t 0 web
kill -s HUP web
kill web
pause web
unpause web
wait web
rm web
rm -fv web
rm nope
rm -f nope
rename web www
rename web
stats --no-stream web
stats --no-stream --no-trunc web
stats --no-stream --format json web
stats --no-stream --format {{.Name}}:{{.Container}}:{{.CPUPerc}}:{{.PIDs}} web
stats --no-stream nope
update web
update
update --cpus 1.5 web nope
update -m 64m --memory-swap -1 --memory-reservation 32m --pids-limit -1 --cpuset-cpus 0-1 --cpuset-mems 0 -c 512 web
update --cpu-period 1000 --cpu-quota 2000 --cpu-rt-period 3 --cpu-rt-runtime 4 --blkio-weight 300 --restart on-failure:3 web
update --restart always:x web
update -m zip web
top web
top web -o pid
port web
port web 80
port web 80/tcp
port web 91
logs web
logs -n 5 -t --details web
logs --since 2026-11-24T04:00:00Z --until 2026-11-24T04:00:00.5Z web
logs --since nonsense web
logs nope
exec web ls -l
exec -e A=b -e FOO -u root -w /x --privileged web ls
exec -d web ls
exec -d -t -w /x web ls
exec --detach-keys ctrl-a -i web cat
exec --env-file /nonexistent web ls
exec -e =x web ls
exec web
exec -it web ls
container prune -f
images
images -q
images -a --no-trunc --digests
images --format json
images --filter dangling=true busy*
images --format {{.Repository}}:{{.Tag}}@{{.Digest}}
image ls
rmi busybox
rmi -f --no-prune busybox
rmi nope
tag busybox mine:1
tag busybox reg:5000/a/b
tag busybox UPPER
image rm busybox
image prune -f
system df
system df -v
system df --format json
system df --format {{.Type}}:{{.Size}}_{{.Reclaimable}}
system df -v --format {{json_.}}
system df -v --format json
system df -v --format {{range_.Volumes}}{{.Name}}:{{.Links}}:{{.Size}}{{end}}
system df --format table
system prune
system prune -f
system prune -a --volumes --filter label=x
system prune -af --volumes --filter label=x --filter label!=y
system prune -f --volumes --filter until=1h
system prune -f --filter until=1h
image prune -af --filter until=1h
history busybox
history --no-trunc busybox
history -q busybox
history -H=false busybox
history --format json busybox
pull busybox
pull -q busybox:1
pull busybox@sha256:f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6
pull -a busybox:1
pull UPPER
import - mine:1
import -c CMD_["sh"] -m hello /nonexistent mine
load -i /nonexistent
push busybox
push -q busybox:1
push -q reg:5000/a/b
push -a busybox
push -a busybox:1
push busybox@sha256:f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6
push nope
push UPPER
push
login --password-stdin reg:5000
login -u ann reg:5000
login -u ann -p x --password-stdin reg:5000
login -u ann -p wrong reg:5000
logout reg:5000
logout https://reg:5000/v1/
logout
save busybox
save busybox mine:1
save --platform linux/arm64/v8 busybox
save nope
save
save -o /nonexistent/dir/x.tar busybox
save -o /dev/null busybox
save -o / busybox
commit web
commit -p=false -a Me -m hello -c CMD_["sh"] -c ENV_A=b web mine
commit web mine:2
commit web UPPER
commit nope
commit
diff web
diff job
diff nope
diff
diff web job
export web
export nope
export -o /nonexistent/dir/x.tar web
export a b
load
events --since 1 --until 2
events --format {{.Type}}/{{.Action}}/{{.Actor.ID}}/{{.TimeNano}}/{{.Actor.Attributes.name}}
events --format json
events --filter type=container --filter container=web
events --format {{json_.}}
info --format {{.ContainersRunning}}
info --format {{.Nope}}
swarm foo
swarm init
swarm init x
swarm init --advertise-addr 192.0.2.11
swarm init --advertise-addr eth0:2378 --listen-addr 192.0.2.11 --data-path-addr eth1 --data-path-port 7789 --availability drain --force-new-cluster
swarm init --listen-addr eth0 --autolock
swarm init --listen-addr 0.0.0.0:x
swarm init --listen-addr [::]:99
swarm init --listen-addr ::1
swarm init --availability Nope
swarm init --availability PAUSE
swarm init --cert-expiry 1h --dispatcher-heartbeat 1s --task-history-limit 0 --snapshot-interval 9 --max-snapshots 2
swarm init --default-addr-pool 10.20.0.0/16 --default-addr-pool 10.30.0.0/16 --default-addr-pool-mask-length 26
swarm init --default-addr-pool 10.20.0.0/16,10.40.0.5/16
swarm init --default-addr-pool nope
swarm init --default-addr-pool-mask-length -1
swarm init --data-path-port 70000
swarm init --data-path-port 4294967296
swarm init --external-ca protocol=cfssl,url=https://ca
swarm init --external-ca protocol=cfssl
swarm init --external-ca zip
swarm init --external-ca protocol=nope,url=x
swarm init --cert-expiry 5
swarm init --autolock=false
swarm join
swarm join a b
swarm join --token SWMTKN-1-a-b 192.0.2.11:2377
swarm join --token SWMTKN-1-a-b --advertise-addr 1.2.3.4 --listen-addr eth1:1 --data-path-addr 1.2.3.5 --availability pause 192.0.2.11
swarm join --availability nope 192.0.2.11
swarm join-token
swarm join-token worker
swarm join-token manager
swarm join-token -q manager
swarm join-token nope
swarm join-token --rotate worker
swarm join-token --rotate -q manager
swarm leave
swarm leave -f
swarm leave x
swarm update --autolock
swarm update --autolock=false
swarm update --task-history-limit 3
swarm update --cert-expiry 2h --dispatcher-heartbeat 9s --max-snapshots 1 --snapshot-interval 7
swarm update --external-ca protocol=cfssl,url=https://ca,cacert=/nonexistent
swarm update --external-ca protocol=cfssl,url=https://ca,a=b
swarm ca
swarm ca -q
swarm ca --cert-expiry 1h
swarm ca -d
swarm ca --rotate -d
swarm ca --rotate -q --cert-expiry 1h --external-ca protocol=cfssl,url=https://ca
swarm ca --rotate --ca-cert /nonexistent
swarm ca --rotate --ca-key /nonexistent
swarm ca --ca-cert /nonexistent
swarm unlock
swarm unlock x
swarm unlock-key
swarm unlock-key -q
swarm unlock-key --rotate
swarm unlock-key --rotate -q
node foo
node ls
node list
node ls -q
node ls --filter role=manager --filter name=host
node ls --filter nope
node ls --format json
node ls --format {{.ID}}:{{.Self}}:{{.Hostname}}:{{.Status}}:{{.Availability}}:{{.ManagerStatus}}:{{.TLSStatus}}:{{.EngineVersion}}
node ls --format table_{{.Hostname}}\t{{.TLSStatus}}\t{{.Self}}
node ls --format {{.Nope}}
node ls -q --format {{.Hostname}}
node ls x
node inspect
node inspect self
node inspect builder nope
node inspect nope
node inspect --pretty self
node inspect --pretty builder
node inspect --pretty host2
node inspect --pretty nope
node inspect --pretty self builder
node inspect --pretty -f {{.ID}} self
node inspect -f {{.Spec.Role}} self builder
node inspect -f {{.ManagerStatus.Leader}} self
node inspect -f {{json_.Description.Engine}} builder
node inspect -f {{.Spec.Labels.zone}} builder
node inspect -f {{.Nope}} self
node update
node update self
node update --availability drain self
node update --availability Nope self
node update --role worker self
node update --role manager builder
node update --role nope builder
node update --label-add a=b --label-add c --label-rm zone builder
node update --label-rm nope --label-rm zone builder
node update --label-add a=b nope
node update --role worker host2
node ps
node ps -q
node ps self builder
node ps nope
node ps builder nope
node promote
node promote builder self
node promote nope builder
node demote self
node demote host2
node demote builder nope
node demote builder
node rm
node rm nope builder
node rm -f builder
node remove --force builder nope
swarm ca --rotate --ca-cert package.json
swarm ca --ca-key package.json
node inspect --pretty builder nope
network inspect -f {{.IPAM.ALongNameThatIsNotThere}} mynet
node inspect --pretty nope builder
node inspect --format pretty builder
node inspect --format prettyx builder
node ls --filter role=nope --filter name=
inspect --type node builder
inspect --type node -f {{.ID}} nope
inspect builder
node inspect -f {{.Spec.Labels.nope}}/{{.Description.TLSInfo.TrustRoot}} builder
node inspect -f {{json_.}} builder
swarm init --max-snapshots x
swarm init --external-ca url=x
swarm init --external-ca protocol=CFSSL,url=x,cacert=/nonexistent
help foo
--foo
`
  .trim()
  .split('\n');

const platforms: readonly string[] = `
pull --disable-content-trust busybox
pull --platform linux/arm64 busybox
push --platform linux/arm64 -q x/y
push --platform linux/arm64/v8 x/y
push --disable-content-trust x/y
run -d --disable-content-trust busybox
create --disable-content-trust=true busybox
image inspect --platform linux/amd64 -f {{.Id}} busybox
history --platform linux/amd64 -q busybox
load --platform linux/arm64 -i package.json
image rm --platform linux/amd64 busybox
image rm --platform linux/amd64,linux/arm64/v8 busybox
`
  .trim()
  .split('\n');

/** With a config.json of the docker CLI that sets all that is taken from there. */
const configured: readonly string[] = `
ps
ps -q
ps --format {{.Names}}
ps -q --format {{.Names}}
images
images -q
image ls --format {{.ID}}
history busybox
network ls
network ls -q
volume ls
volume ls -q
node ls
node ls -q
node ps
container prune -f
container prune -f --filter label!=keep --filter until=24h
network prune -f
volume prune -f --filter label=old
image prune -f
system prune -f
run -d busybox
run -d -e http_proxy=mine -e NO_PROXY busybox
create -e FTP_PROXY=x busybox
exec web ls
exec --detach-keys ctrl-a web ls
start -a web
start -a --detach-keys ctrl-c web
`
  .trim()
  .split('\n')
  .map((line) => `--config src/frontends/cli/testdata/config ${line}`);

/** `_` stands for a space inside a template. */
const plainCases: readonly DifferentialCase[] = [...plain, ...platforms, ...configured].map((line) => ({
  args: line.split(' ').map((word) => (/\{\{|^CMD_/.test(word) ? word.replaceAll('_', ' ') : word)),
}));

export const differentialCases: readonly DifferentialCase[] = [
  ...plainCases,
  {
    args: ['--config', 'src/frontends/cli/testdata/config', 'stats', '--no-stream'],
    // Docker asks for events which it then does not read.
    ignores: ['requests'],
  },
  // The rest differs by what each program is.
  { args: ['info'], within: /^ Swarm:[^]*?(?=^ CPUs:)/m },
  // Go's names of its inner types are not ours to know.
  { args: ['node', 'inspect', '-f', '{{.Description.NotThere}}', 'self'], ignores: ['stderr'] },
  { args: ['node', 'inspect', '-f', '{{.ManagerStatus.Leader}}', 'builder'], ignores: ['stderr'] },
  // Shows the help, where ours has examples too.
  { args: ['swarm', 'update'], ignores: ['stdout'] },
];
