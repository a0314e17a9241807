'use strict';
/* A folder of photos: index.html names them in Sohes.photos, and each has a
 * script of its own with its record, because a page that was opened as a file
 * may not fetch(). */
{
  /** Thumbnails on a page of the strip. */
  const PAGE = 60;
  /** Records kept, so that going back is at once. */
  const KEPT = 8;

  const {photos} = Sohes;
  const find = (query) => document.querySelector(query);
  const viewer = new Sohes.Viewer(find('#viewer'));
  const kept = new Map();
  let current = -1, found = photos.map((_, k) => k), page = -1, wanted = -1;

  /** Called by a photo's own script. */
  Sohes.photo = (k, record) => {
    kept.set(k, record);
    if (kept.size > KEPT) kept.delete(kept.keys().next().value);
    if (k === wanted) show(k);
  };

  function load(k) {
    wanted = k;
    if (kept.has(k)) {
      show(k);
      return;
    }
    const script = document.createElement('script');
    script.src = photos[k].data;
    script.onload = () => script.remove();
    script.onerror = () => {
      script.remove();
      find('#where').textContent = `${photos[k].data} is missing`;
    };
    document.head.append(script);
  }

  function show(k) {
    current = k;
    find('#name').textContent = photos[k].name;
    find('#where').textContent = `${k + 1} of ${photos.length}`;
    history.replaceState(null, '', `#${k + 1}`);
    viewer.show(kept.get(k));
    const place = found.indexOf(k);
    if (place >= 0) turn(Math.floor(place / PAGE));
    document.querySelectorAll('#strip button').forEach((button) => {
      const here = Number(button.dataset.photo) === k;
      button.setAttribute('aria-current', String(here));
      if (here) button.scrollIntoView({block: 'nearest', inline: 'nearest'});
    });
  }

  /** Fill the strip with a page of what was found. */
  function turn(to, again) {
    const pages = Math.max(1, Math.ceil(found.length / PAGE));
    to = Math.max(0, Math.min(to, pages - 1));
    find('#older').disabled = to === 0;
    find('#newer').disabled = to === pages - 1;
    find('#pages').textContent = `${to + 1}/${pages}`;
    if (to === page && !again) return;
    page = to;
    const shown = found.slice(page * PAGE, (page + 1) * PAGE);
    find('#strip').replaceChildren(...shown.map((k) => {
      const button = document.createElement('button');
      button.dataset.photo = k;
      button.title = `${photos[k].name}: ${photos[k].masks} masks`;
      button.setAttribute('aria-current', String(k === current));
      const image = document.createElement('img');
      image.loading = 'lazy';
      image.alt = photos[k].name;
      // Its place is known before it is loaded.
      image.style.aspectRatio = photos[k].ratio;
      image.src = photos[k].thumb;
      button.append(image);
      button.addEventListener('click', () => load(k));
      return button;
    }));
  }

  function walk(by) {
    const place = found.indexOf(current);
    const next = found[Math.max(0, Math.min(place + by, found.length - 1))];
    if (next !== undefined && next !== current) load(next);
  }

  find('#before').addEventListener('click', () => walk(-1));
  find('#after').addEventListener('click', () => walk(1));
  find('#older').addEventListener('click', () => turn(page - 1));
  find('#newer').addEventListener('click', () => turn(page + 1));
  find('#search').addEventListener('input', (event) => {
    const text = event.target.value.toLowerCase();
    found = photos.map((_, k) => k).filter(
      (k) => photos[k].name.toLowerCase().includes(text));
    turn(0, true);
    find('#strip').dataset.found = found.length;
  });
  document.addEventListener('keydown', (event) => {
    if (event.target.closest?.('input, select')) return;
    const by = {PageDown: 1, n: 1, PageUp: -1, p: -1}[event.key];
    if (!by || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    walk(by);
  });
  const start = Number(location.hash.slice(1)) - 1;
  if (photos.length) load(photos[start] ? start : 0);
}
