# Inside: the file servers, then what is asked of them.
set -x
ip link set lo up
hostname nas
mkdir -p /srv /mnt/a /mnt/b /mnt/c /var/lib/nfs/v4recovery /run/rpcbind
mkdir -p /srv/nas
modprobe -a nfsd nfs nfsv3 nfsv4 cifs
mount -t nfsd nfsd /proc/fs/nfsd
rpcbind
nfsdcld
exportfs -o rw,no_root_squash,insecure,fsid=0,no_subtree_check,sync 127.0.0.1:/srv/nas
rpc.nfsd 4
rpc.mountd
mkdir -p /run/samba /var/lib/samba/private
printf '[global]\nmap to guest = Bad User\nguest account = root\nserver min protocol = SMB3\n[nas]\npath = /srv/nas\nguest ok = yes\nread only = no\n' > /etc/samba/smb.conf
smbd -D
cp -r /host/tried /tmp/tried
export PYTHONPATH=/tmp/tried:/host/guest PYTHONDONTWRITEBYTECODE=1
exec /opt/clipspool/bin/python /host/guest/ground.py
